// The comparison: one zoom and one position for all images, and which of them is better.

import { keys, say } from "/static/gallery-picks.js";

const panes = [...document.querySelectorAll(".pane")];
const lenses = [...document.querySelectorAll("[data-lens]")];
const range = document.getElementById("zoom");
const drawn = document.querySelector(".panes").dataset.drawn === "yes";
const most = 4; // powers of two
// The same for every lens: its zoom (as a power of two), and the position of its centre, 0 to 1.
const look = { power: 0, x: 0.5, y: 0.5 };

range.closest("label").hidden = false;

function draw() {
  const scale = 2 ** look.power;
  const half = 0.5 / scale;
  look.x = Math.min(1 - half, Math.max(half, look.x));
  look.y = Math.min(1 - half, Math.max(half, look.y));
  for (const lens of lenses) {
    const image = lens.querySelector("img");
    if (!image) continue;
    const x = (0.5 - look.x * scale) * lens.clientWidth;
    const y = (0.5 - look.y * scale) * lens.clientHeight;
    image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    image.style.imageRendering = scale >= 4 ? "pixelated" : "auto";
  }
  range.value = look.power;
}

function zoom(by, at = null) {
  const before = 2 ** look.power;
  look.power = Math.min(most, Math.max(0, look.power + by));
  const after = 2 ** look.power;
  if (at) { // what is under the pointer stays there
    look.x += (at.x - 0.5) * (1 / before - 1 / after);
    look.y += (at.y - 0.5) * (1 / before - 1 / after);
  }
  draw();
}

for (const lens of lenses) {
  const fingers = new Map();
  let apart = 0;
  lens.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = lens.getBoundingClientRect();
    zoom(-event.deltaY / 300, { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
  }, { passive: false });
  lens.addEventListener("dblclick", () => zoom(look.power ? -most : 2));
  lens.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    lens.setPointerCapture(event.pointerId);
    apart = 0;
  });
  lens.addEventListener("pointermove", (event) => {
    const old = fingers.get(event.pointerId);
    if (!old) return;
    fingers.set(event.pointerId, event);
    if (fingers.size === 2) {
      const [one, other] = [...fingers.values()];
      const now = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      if (apart) zoom(Math.log2(now / apart));
      apart = now;
      return;
    }
    const scale = 2 ** look.power;
    look.x -= (event.clientX - old.clientX) / lens.clientWidth / scale;
    look.y -= (event.clientY - old.clientY) / lens.clientHeight / scale;
    draw();
  });
  for (const kind of ["pointerup", "pointercancel"]) lens.addEventListener(kind, (event) => fingers.delete(event.pointerId));
}
range.addEventListener("input", () => { look.power = Number(range.value); draw(); });
addEventListener("resize", draw);

async function prefer(pane) {
  const form = pane?.querySelector("form");
  if (!form) return;
  const told = await say("prefer", form.elements.id.value, form.elements.value.value);
  if (!told) return;
  for (const one of panes) one.toggleAttribute("data-preferred", one === pane);
  if (drawn) setTimeout(another, 450);
}

const another = () => location.assign(document.getElementById("another").href);

for (const pane of panes) {
  pane.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); prefer(pane); });
}
const own = Object.fromEntries(panes.map((pane, place) => [String(place + 1), () => { prefer(pane); }]));
keys(() => "", {
  5: () => false,
  ...Object.fromEntries("1234".split("").map((key) => [key, own[key] ?? (() => false)])),
  p: () => false,
  x: () => false,
  "+": () => zoom(0.5),
  "=": () => zoom(0.5),
  "-": () => zoom(-0.5),
  0: () => { Object.assign(look, { power: 0, x: 0.5, y: 0.5 }); draw(); },
  n: another,
  Escape: () => location.assign(document.getElementById("back").href),
});
draw();
