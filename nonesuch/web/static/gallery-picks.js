// Picks, stars, tags and notes: sends them to /picks with the page's token, and shows the result wherever the image is.

const form = document.getElementById("picks");
const toast = document.getElementById("said");
const signs = document.getElementById("signs").content;
let hiding = 0;

document.documentElement.classList.add("js");

export function tell(text, wrong = false) {
  clearTimeout(hiding);
  toast.classList.toggle("wrong", wrong);
  toast.textContent = text;
  hiding = setTimeout(() => { toast.textContent = ""; }, wrong ? 8000 : 2600);
}

export async function say(action, id = "", value = "") {
  let answer;
  try {
    answer = await fetch("/picks", {
      method: "POST",
      headers: {
        "Content-Type": "application/json", Accept: "application/json", "X-Nonesuch-Token": form.dataset.token,
      },
      body: JSON.stringify({ do: action, id, value }),
    });
  } catch {
    tell("The server did not respond. Is it still running?", true);
    return null;
  }
  const told = await answer.json();
  if (!answer.ok) {
    tell(told.error ?? "That did not work.", true);
    return null;
  }
  for (const [image, state] of Object.entries(told.states)) show(image, state);
  tell(told.said);
  return told;
}

export function show(id, state) {
  for (const place of document.querySelectorAll(`[data-id="${CSS.escape(id)}"]`)) {
    place.dataset.verdict = state.verdict ?? "";
    place.dataset.stars = state.stars;
    for (const button of place.querySelectorAll("button[name=do]")) {
      const [action, , value] = button.value.split(":");
      if (action === "pick") button.setAttribute("aria-pressed", state.verdict === "picked");
      if (action === "reject") button.setAttribute("aria-pressed", state.verdict === "rejected");
      if (action === "stars") {
        button.setAttribute("aria-pressed", state.stars === Number(value));
        button.toggleAttribute("data-on", state.stars >= Number(value));
      }
    }
    const said = place.querySelector("[data-said]");
    if (said) said.replaceChildren(...marks(state));
    const tags = place.querySelector("[data-tags]");
    if (tags) tags.replaceChildren(...state.tags.map((tag) => tagChip(id, tag)));
    const who = place.querySelector("[data-who]");
    if (who) who.textContent = state.who ? `${state.who}, ${state.when}` : "";
  }
}

function marks(state) {
  const found = [];
  if (state.verdict) found.push(signs.querySelector(state.verdict === "picked" ? ".yes" : ".no").cloneNode(true));
  if (state.stars) {
    const stars = signs.querySelector(".gold").cloneNode(true);
    stars.prepend(String(state.stars));
    found.push(stars);
  }
  return found;
}

function tagChip(id, tag) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.className = "chip";
  button.setAttribute("form", "picks");
  button.name = "do";
  button.value = `untag:${id}:${tag}`;
  button.textContent = `${tag} ×`;
  button.setAttribute("aria-label", `Remove the tag ${tag}`);
  item.append(button);
  return item;
}

// Pressing an active pick or reject again removes it.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[name=do]");
  if (!button) return;
  event.preventDefault();
  const [action, id = "", ...rest] = button.value.split(":");
  const off = button.getAttribute("aria-pressed") === "true";
  say(off ? "clear" : action, id, off ? "" : rest.join(":"));
});

// Keys: they act on the image that `current` returns. `more` holds further keys of the page.
export function keys(current, more = {}) {
  const dialog = document.getElementById("keys");
  const plain = {
    p: () => current() && say("pick", current()),
    x: () => current() && say("reject", current()),
    0: () => current() && say("clear", current()),
    u: () => say("undo"),
    U: () => say("redo"),
    "?": () => dialog?.showModal(),
  };
  for (const count of "12345") plain[count] = () => current() && say("stars", current(), count);
  const known = { ...plain, ...more };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open || !(event.target instanceof Element)) return;
    const field = event.target.closest("input:not([type=checkbox], [type=range]), textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.target.type === "range" && event.key.startsWith("Arrow")) return;
    const work = known[event.key];
    if (work && work(event) !== false) event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-help]")) {
    button.hidden = false;
    button.addEventListener("click", () => dialog?.showModal());
  }
}
