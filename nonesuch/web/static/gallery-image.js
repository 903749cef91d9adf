// One image: keys and swipes to its neighbours, original size, tags and notes, the verdict, and similar images.

import { keys, say, tell } from "/static/gallery-picks.js";

const id = document.querySelector(".one").dataset.id;
const follow = (name) => () => { const link = document.getElementById(name); if (link) location.assign(link.href); return Boolean(link); };

// The image at the size of its pixels, and back to the whole of it.
const frame = document.querySelector("[data-zoom]");
const zoom = () => frame?.classList.toggle("actual");
frame?.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  zoom();
});

keys(() => id, {
  ArrowLeft: follow("before"),
  ArrowRight: follow("behind"),
  Escape: follow("back"),
  z: zoom,
  t: () => document.querySelector("[data-act=tag] [name=value]").focus(),
});

for (const form of document.querySelectorAll("form[data-act]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = form.elements.value;
    const told = await say(form.dataset.act, id, field.value);
    if (told && form.dataset.act === "tag") field.value = "";
    field.blur();
  });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(text.textContent);
      tell("Copied");
    } catch { // no permission to use the clipboard, or no secure context
      getSelection().selectAllChildren(text);
      tell("Selected; copy it with the keys of your system");
    }
  });
}

// What takes longer is loaded after the page. The server has escaped every text, and the policy forbids scripts.
async function fill(place, query) {
  if (!place) return;
  try {
    const answer = await fetch(place.dataset.from + query);
    if (!answer.ok) return;
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(...parsed.body.children);
  } catch { /* the link stays */ }
}
fill(document.getElementById("like"), "");
fill(document.getElementById("verdict"), "?part=verdict");

let start = null;
const stage = document.getElementById("stage");
stage.addEventListener("touchstart", (event) => {
  start = event.touches.length === 1 && !frame?.classList.contains("actual") ? event.touches[0] : null;
}, { passive: true });
stage.addEventListener("touchend", (event) => {
  if (!start) return;
  const [end] = event.changedTouches;
  const across = end.clientX - start.clientX;
  if (Math.abs(across) > 60 && Math.abs(across) > 2 * Math.abs(end.clientY - start.clientY)) {
    follow(across > 0 ? "before" : "behind")();
  }
  start = null;
}, { passive: true });
