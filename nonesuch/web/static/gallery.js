// The grid: filters that apply at once, pages that load on scrolling, and keys that go from image to image.

import { keys, say, tell } from "/static/gallery-picks.js";

const MOST = 3000; // images on one page; then the link leads to a page of its own
const filters = document.getElementById("filters");
const results = document.getElementById("results");
const tray = document.getElementById("chosen");
let asking = null;
let waiting = 0;
let here = location.search; // the address of what is shown

// Filters: the form's address, without defaults, is fetched and replaces what is shown.

function address(changed = "") {
  const data = new FormData(filters);
  if (changed === "order") data.delete("dir"); // each order has its own default direction
  const found = new URLSearchParams();
  for (const [name, value] of data) {
    const slider = filters.querySelector(`input[type=range][name="${CSS.escape(name)}"]`);
    const end = slider && (name.startsWith("min.") ? slider.min : slider.max);
    if (value === "" || (slider && Number(value) === Number(end))) continue;
    if (name === "status" && value === "images") continue;
    found.append(name, value);
  }
  return `/gallery${found.size ? `?${found}` : ""}`;
}

async function go(where, { push = true } = {}) {
  asking?.abort();
  asking = new AbortController();
  results.classList.add("busy");
  try {
    const answer = await fetch(where, { signal: asking.signal, headers: { Accept: "text/html" } });
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) {
      tell(parsed.querySelector(".refused p")?.textContent ?? "That can’t be shown.", true);
      return;
    }
    if (push) {
      const tidy = parsed.querySelector("link[rel=canonical]").getAttribute("href");
      history.pushState(null, "", tidy + location.hash);
    }
    here = location.search;
    swap(parsed);
    document.getElementById("heard").textContent = document.getElementById("count").textContent;
  } catch (error) {
    if (error.name !== "AbortError") tell("The server did not respond. Is it still running?", true);
    return;
  } finally {
    results.classList.remove("busy");
  }
}

function swap(parsed) {
  const focus = document.activeElement;
  const mark = focus && { name: focus.name, value: focus.type === "checkbox" ? focus.value : null, at: focus.selectionStart };
  const open = [...filters.querySelectorAll("details")].map((one) => one.open);
  const scroll = filters.parentElement.scrollTop;
  filters.replaceChildren(...parsed.getElementById("filters").children);
  [...filters.querySelectorAll("details")].forEach((one, place) => { one.open ||= open[place] ?? false; });
  filters.parentElement.scrollTop = scroll;
  results.replaceChildren(...parsed.getElementById("results").children);
  for (const name of ["back"]) document.forms.picks[name].value = parsed.forms.picks[name].value;
  if (mark?.name) {
    const same = [...document.getElementsByName(mark.name)]
      .find((one) => mark.value === null || one.value === mark.value);
    same?.focus({ preventScroll: true });
    if (same?.type === "search" && mark.at !== null) same.setSelectionRange(mark.at, mark.at);
  }
  if (results.getBoundingClientRect().top < 0) scrollTo({ top: 0 });
  help();
  watch();
}

function help() {
  for (const button of results.querySelectorAll("[data-help]")) {
    button.hidden = false;
    button.onclick = () => document.getElementById("keys").showModal();
  }
}

document.addEventListener("change", (event) => {
  if (event.target.form === filters && event.target.type !== "search") go(address(event.target.name));
});
document.addEventListener("input", (event) => {
  const field = event.target;
  if (field.form !== filters) return;
  if (field.type === "range") label(field.closest(".score"), field);
  if (field.type !== "search") return;
  clearTimeout(waiting);
  waiting = setTimeout(() => go(address()), 450);
});
filters.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  go(address());
  if (location.hash === "#filters-panel") location.hash = "#results";
});
addEventListener("popstate", () => { if (location.search !== here) go(location.pathname + location.search, { push: false }); });

function label(score, moved) {
  const [low, high] = score.querySelectorAll("input");
  if (Number(low.value) > Number(high.value)) (moved === low ? high : low).value = moved.value;
  score.querySelector("output").textContent = `${short(low.value)} – ${short(high.value)}`;
}

function short(value) {
  const number = Number(value);
  return Math.abs(number) >= 1000 ? number.toLocaleString("en", { maximumFractionDigits: 0 })
    : String(Number(number.toPrecision(3)));
}

// Pages: the link to the next one is followed when it is near.

const near = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) follow();
}, { rootMargin: "1200px 0px" });

function watch() {
  near.disconnect();
  const next = document.getElementById("next");
  if (next && document.querySelectorAll(".tile").length < MOST) near.observe(next);
}

async function follow() {
  const next = document.getElementById("next");
  if (!next || next.dataset.asked) return;
  next.dataset.asked = "yes";
  try {
    const answer = await fetch(`${next.getAttribute("href")}&part=cards`);
    if (!answer.ok) throw new Error(answer.statusText);
    const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!next.isConnected) return;
    next.closest("li").replaceWith(...parsed.body.children);
    watch();
  } catch {
    delete next.dataset.asked; // the link stays for the user to follow
  }
}

// Keys and the tray of images to compare.

const tiles = () => [...document.querySelectorAll("#tiles .tile")];
const currentTile = () => document.activeElement?.closest?.(".tile");

function step(by) {
  const all = tiles();
  const at = all.indexOf(currentTile());
  const goal = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by));
  const shot = all[goal]?.querySelector(".shot");
  shot?.focus();
  shot?.scrollIntoView({ block: "nearest" });
}

function columns() {
  const all = tiles();
  const top = all[0]?.offsetTop;
  const wide = all.findIndex((tile) => tile.offsetTop !== top);
  return wide < 0 ? all.length : wide;
}

keys(() => currentTile()?.dataset.id ?? "", {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: () => step(columns()),
  ArrowUp: () => step(-columns()),
  "/": () => document.getElementById("words").focus(),
  c: () => {
    const box = currentTile()?.querySelector("input[name=ids]");
    if (box) { box.checked = !box.checked; chosen(); }
  },
});

function chosen() {
  const count = document.querySelectorAll(".tile :checked").length;
  tray.querySelector("[data-chosen]").textContent = count === 1 ? "1 image; choose another" : `${count} images`;
  tray.querySelector("[type=submit]").disabled = count < 2 || count > 4;
  if (count > 4) tell("At most 4 images are compared at once.", true);
}
document.addEventListener("change", (event) => { if (event.target.name === "ids") chosen(); });
tray.addEventListener("reset", () => {
  for (const box of document.querySelectorAll(".tile :checked")) box.checked = false;
});

// A long press picks, for devices without a keyboard.
let pressing = 0;
let pressed = false;
document.addEventListener("touchstart", (event) => {
  const tile = event.target.closest(".shot")?.closest(".tile");
  clearTimeout(pressing);
  pressed = false;
  if (tile) pressing = setTimeout(() => { pressed = true; say("pick", tile.dataset.id); }, 550);
}, { passive: true });
for (const kind of ["touchmove", "touchend", "touchcancel"]) {
  document.addEventListener(kind, () => clearTimeout(pressing), { passive: true });
}
document.addEventListener("contextmenu", (event) => { if (pressed && event.target.closest(".shot")) event.preventDefault(); });
document.addEventListener("click", (event) => { if (pressed && event.target.closest(".shot")) { event.preventDefault(); pressed = false; } });

watch();
