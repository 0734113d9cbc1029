// Crops the query photo: a box that is drawn with the mouse is searched at once; after "Search a part" it is adjusted
// with mouse, keyboard or touch until "Search this part" is pressed.
// A box is [x, y, width, height] in fractions of the photo.

import { addressOf } from "./refine.js";
import { fileOf, photoOf } from "./upload.js";

const MIN_SIDE = 0.05;
const STEP = 0.02;
const FIRST = [0.2, 0.2, 0.6, 0.6];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function searchParts({ onShow, visit, search, announce }) {
  document.addEventListener("click", ({ target }) => {
    const frame = document.querySelector(".query .frame");
    if (target.closest("[data-draw]")) edit(frame);
    if (target.closest("[data-part]")) searchPart(frame);
    if (target.closest("[data-cancel]")) cancel(frame);
    if (target.closest("[data-whole]")) searchPart(frame, "");
  });
  onShow((main) => {
    const frame = main.querySelector(".query .frame:not(.blank)");
    const box = frame && boxOf(frame);
    if (box) show(frame, box);
    frame?.addEventListener("pointerdown", start);
  });

  function edit(frame) {
    const box = show(frame, boxOf(frame) ?? FIRST);
    frame.classList.add("drawing-box");
    box.focus();
    announce("Crop box. Arrow keys move it, Shift with arrow keys resizes it, Enter searches this part, Escape cancels.");
  }

  function start(event) {
    const frame = event.currentTarget;
    const byMouse = event.pointerType === "mouse";
    if (!byMouse && event.target.dataset.corner) frame.classList.add("drawing-box");
    const editing = frame.classList.contains("drawing-box");
    if (event.button || !(byMouse || editing)) return;
    event.preventDefault();
    const from = pointIn(frame, event);
    const box = boxOf(frame);
    const change = changeAt(event.target, box, from);
    frame.setPointerCapture(event.pointerId);
    let drawn;
    const move = (moved) => show(frame, (drawn = change(pointIn(frame, moved))));
    frame.addEventListener("pointermove", move);
    frame.addEventListener("lostpointercapture", () => {
      frame.removeEventListener("pointermove", move);
      if (!drawn) return;
      if (drawn[2] < MIN_SIDE || drawn[3] < MIN_SIDE) restore(frame, box);
      else if (!editing) searchPart(frame);
    }, { once: true });
  }

  function keys(event) {
    const frame = event.currentTarget.parentElement;
    const arrow = ARROWS[event.key];
    if (arrow) show(frame, event.shiftKey ? resized(boxOf(frame), arrow) : moved(boxOf(frame), arrow));
    else if (event.key === "Enter") searchPart(frame);
    else if (event.key === "Escape") cancel(frame);
    else return;
    event.preventDefault();
  }

  function show(frame, [x, y, width, height]) {
    const box = frame.querySelector(".box") ?? frame.appendChild(newBox());
    if (!box.hasAttribute("tabindex")) equip(box);
    Object.entries({ x, y, w: width, h: height }).forEach(([name, part]) => box.style.setProperty(`--${name}`, part.toFixed(4)));
    const percent = [x, y, width, height].map((part) => Math.round(100 * part));
    box.ariaLabel = `Part of the photo: ${percent[0]}% from the left, ${percent[1]}% from the top, ${percent[2]}% wide, ${percent[3]}% high`;
    return box;
  }

  /** Show another box, or none. */
  function restore(frame, box) {
    if (box) show(frame, box);
    else frame.querySelector(".box")?.remove();
  }

  function equip(box) {
    box.tabIndex = 0;
    box.role = "application";
    box.ariaRoleDescription = "box";
    box.append(...[0, 1, 2, 3].map((corner) => {
      const handle = document.createElement("i");
      handle.dataset.corner = corner;
      return handle;
    }));
    box.addEventListener("keydown", keys);
  }

  function cancel(frame) {
    frame.classList.remove("drawing-box");
    restore(frame, frame.dataset.crop?.split(",").map(Number));
    document.querySelector("[data-draw]").focus();
  }

  function searchPart(frame, crop = boxOf(frame).map((part) => part.toFixed(4)).join()) {
    const address = addressOf(document.getElementById("search"));
    address.searchParams.delete("crop");
    if (crop) address.searchParams.set("crop", crop);
    if (!address.searchParams.has("vector")) return visit(address);
    address.searchParams.delete("vector");
    const fields = new FormData();
    for (const [name, value] of address.searchParams) fields.append(name, value);
    if (fileOf(frame)) fields.delete("kept"); // otherwise the server uses the photo that it keeps, if it still does
    return search(photoOf(frame), { fields, original: Boolean(crop) });
  }
}

function newBox() {
  return Object.assign(document.createElement("div"), { className: "box" });
}


function boxOf(frame) {
  const style = frame.querySelector(".box")?.style;
  return style && ["x", "y", "w", "h"].map((name) => Number(style.getPropertyValue(`--${name}`)));
}

function pointIn(frame, { clientX, clientY }) {
  const { left, top, width, height } = frame.getBoundingClientRect();
  return [clamp((clientX - left) / width), clamp((clientY - top) / height)];
}

/** A function from the end of a drag to the box: drags a corner, moves the box, or draws another one. */
function changeAt(target, box, from) {
  const corner = target.dataset.corner;
  if (corner !== undefined) {
    const opposite = [box[0] + (corner % 2 ? 0 : box[2]), box[1] + (corner < 2 ? box[3] : 0)];
    return (to) => between(opposite, to);
  }
  if (target.matches(".box")) return (to) => moved(box, [to[0] - from[0], to[1] - from[1]], 1);
  return (to) => between(from, to);
}

function between([x1, y1], [x2, y2]) {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1)];
}

function moved([x, y, width, height], [right, down], step = STEP) {
  return [clamp(x + step * right, 1 - width), clamp(y + step * down, 1 - height), width, height];
}

function resized([x, y, width, height], [right, down]) {
  return [x, y, clamp(width + STEP * right, 1 - x, MIN_SIDE), clamp(height + STEP * down, 1 - y, MIN_SIDE)];
}

function clamp(value, max = 1, min = 0) {
  return Math.max(min, Math.min(max, value));
}
