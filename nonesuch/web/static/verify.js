// The verification page: an image that is dropped, chosen or pasted goes to /verdict, and the verdict onto the page.

const form = document.getElementById("ask");
const input = document.getElementById("file");
const status = document.getElementById("status");
const result = document.getElementById("result");
const maxBytes = Number(form.dataset.maxBytes);
let running = null;
let preview = null;

document.documentElement.classList.add("js");

async function ask(file) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  if (file.size > maxBytes) {
    tell(`${file.name} is larger than ${maxBytes / (1 << 20)} MiB; it was not sent.`);
    return;
  }
  form.classList.add("busy");
  result.replaceChildren();
  tell(`Checking ${file.name || "the image"} …`);
  const body = new FormData();
  body.append("file", file, file.name || "pasted image");
  try {
    const answer = await fetch("/verdict", { method: "POST", body, signal });
    show(await answer.text(), file);
  } catch (error) {
    if (signal.aborted) return;
    tell("The server did not respond. Is it still running?");
  }
  form.classList.remove("busy");
  form.reset();
}

function show(html, file) {
  // The server has escaped every text; scripts in a parsed document don't run, and the policy forbids them.
  const parsed = new DOMParser().parseFromString(html, "text/html");
  result.replaceChildren(...parsed.body.children);
  const card = result.firstElementChild;
  showPreview(card?.querySelector("[data-preview]"), file);
  const headline = card?.dataset.headline;
  document.title = `${headline ?? "Verify an image"} · nonesuch`;
  tell("");
  card?.querySelector("h2").focus({ preventScroll: true });  // a screen reader continues from here
  card?.scrollIntoView({ block: "start", behavior: "auto" });
}

function showPreview(place, file) {
  if (preview) URL.revokeObjectURL(preview);
  preview = null;
  if (!place) return;
  const image = new Image();
  preview = URL.createObjectURL(file);
  image.alt = `Your image: ${place.dataset.name}`;
  image.onload = () => { place.hidden = false; };
  image.src = preview;
  place.append(image);
}

function tell(text) {
  status.textContent = text;
}

input.addEventListener("change", () => { if (input.files.length) ask(input.files[0]); });
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) ask(input.files[0]);
});

let depth = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
window.addEventListener("dragenter", (event) => {
  if (carriesFiles(event)) { depth += 1; form.classList.add("over"); }
});
window.addEventListener("dragleave", (event) => {
  if (carriesFiles(event) && (depth -= 1) <= 0) { depth = 0; form.classList.remove("over"); }
});
window.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
window.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  depth = 0;
  form.classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) ask(file);
});
window.addEventListener("paste", (event) => {
  const file = event.clipboardData?.files[0];
  if (file) ask(file);
});
