// The legend of the map: the labels with their marks and counts. A click highlights a label.

import { SHAPES } from "./map-marks.js";

const SVG = "http://www.w3.org/2000/svg";

/** rows: name, count and mark of each label; view: the map. */
export function drawLegend(list, view, rows) {
  list.replaceChildren(...rows.map((row) => itemOf(row, view)));
  view.onRecolour = () => list.querySelectorAll("button").forEach((button) => paint(button, view));
}

function itemOf({ name, count, mark }, view) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { className: "plain", ariaPressed: String(view.lit.has(mark)) });
  button.dataset.mark = mark;
  const label = Object.assign(document.createElement("bdi"), { textContent: name });
  const number = Object.assign(document.createElement("span"), { className: "count", textContent: count.toLocaleString() });
  button.append(swatch(view.marks[mark].shape), label, number);
  paint(button, view);
  button.addEventListener("click", () => (button.ariaPressed = String(view.highlight(mark))));
  item.append(button);
  return item;
}

function swatch(shape) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "-1.4 -1.4 2.8 2.8");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", SHAPES[shape]);
  drawing.append(path);
  return drawing;
}

function paint(button, view) {
  button.querySelector("svg").setAttribute("fill", view.marks[button.dataset.mark].colour);
}
