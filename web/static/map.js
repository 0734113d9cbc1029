// The map page: fetches the map and draws it with a legend.

import { describe, fetchJson, follow, post } from "./api.js";
import { announce, main, warn } from "./notices.js";
import { Points } from "./map-points.js";
import { steer } from "./map-steer.js";
import { View } from "./map-view.js";

const COLOURED = 12; // labels with their own colour; all others are grey
const { map, images, search, jobs } = main().dataset;

fetchJson(map).then(show, (problem) => (problem.status === 404 ? offer() : warn(describe(problem))));

/** Offer to compute the map, if there is none yet. */
function offer() {
  const missing = main().querySelector(".missing");
  missing.hidden = false;
  missing.querySelector("button")?.addEventListener("click", ({ target }) => compute(target, missing.querySelector("output")));
}

/** Start a job that computes the map, and reload when it is done. */
async function compute(button, progress) {
  button.disabled = true;
  progress.value = "Computing…";
  try {
    const job = await post(jobs, { kind: "map" });
    follow(`${jobs}/${job.id}/events`, (now) => {
      if (now.state === "done") location.reload();
      else if (now.state !== "running") fail(now.error ?? `The job has ended: ${now.state}.`);
    });
  } catch (problem) {
    fail(describe(problem));
  }

  function fail(reason) {
    progress.value = reason;
    button.disabled = false;
  }
}

function show(found) {
  const points = new Points(found);
  const ranked = rank(points);
  const shown = ranked.slice(0, COLOURED);
  const colourOf = new Map(shown.map(({ label }, at) => [label, at]));
  const palette = () => colours(shown.length);
  points.colour = points.label.map((label) => colourOf.get(label) ?? COLOURED);

  const stage = main().querySelector(".stage");
  stage.hidden = false;
  const photo = (i) => `${images}${points.id[i]}/thumbnail`;
  const view = new View(stage.querySelector("canvas"), points, { colours: palette, photo });
  drawLegend(view, shown, ranked.slice(COLOURED));
  const tip = stage.querySelector(".tip");
  steer(view, {
    show: (point) => showTip(tip, view, point, photo(point)),
    hide: () => hideTip(tip, view),
    open: (point) => location.assign(`${search}?id=${points.id[point]}`),
  });
  stage.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    if (button.dataset.zoom === "whole") view.whole();
    else view.zoom(Number(button.dataset.zoom));
    hideTip(tip, view);
  }));
  const day = new Date(found.computed_at).toLocaleDateString([], { dateStyle: "medium" });
  const part = points.count < found.total ? `${points.count.toLocaleString()} of ${found.total.toLocaleString()}` : found.total.toLocaleString();
  stage.querySelector(".about").textContent = `${part} photos, computed on ${day}. Similar photos are close together.`;
}

/** The labels and their number of points, most frequent first. */
function rank({ label, labels }) {
  const counts = new Map();
  for (const one of label) counts.set(one, (counts.get(one) ?? 0) + 1);
  counts.delete(null);
  return [...counts].map(([one, count]) => ({ label: one, name: labels[one], count })).sort((a, b) => b.count - a.count);
}

/** Colours for `count` labels, with distant hues and alternating lightness, followed by the grey of all others. */
function colours(count) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const coloured = Array.from({ length: COLOURED }, (_, at) => {
    const light = (dark ? 0.74 : 0.6) + (at % 2 ? 0.07 : -0.05);
    return `oklch(${light} 0.16 ${(at * 360) / count + 20})`;
  });
  return [...coloured, dark ? "#8a8680" : "#918b82"];
}

function drawLegend(view, shown, rest) {
  const others = rest.reduce((sum, { count }) => sum + count, view.points.label.filter((label) => label === null).length);
  const rows = shown.map(({ name, count }, at) => ({ name, count, at }));
  if (others) rows.push({ name: rest.length ? `${rest.length.toLocaleString()} other labels` : "No label", count: others, at: COLOURED });
  const palette = view.colours();
  const legend = main().querySelector(".legend");
  legend.append(...rows.map(({ name, count, at }) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { className: "plain", ariaPressed: "false" });
    const swatch = Object.assign(document.createElement("i"), { ariaHidden: "true" });
    swatch.style.background = palette[at];
    const label = Object.assign(document.createElement("bdi"), { textContent: name });
    const number = Object.assign(document.createElement("span"), { className: "count", textContent: count.toLocaleString() });
    button.append(swatch, label, number);
    button.addEventListener("click", () => highlight(view, button, at));
    item.append(button);
    return item;
  }));
}

function highlight(view, button, at) {
  if (view.lit.delete(at)) button.ariaPressed = "false";
  else {
    view.lit.add(at);
    button.ariaPressed = "true";
  }
  view.redraw();
}

/** Show the photo of a point beside it. */
function showTip(tip, view, point, source) {
  view.select(point);
  const name = view.points.nameOf(point) ?? "No label";
  const [x, y] = view.toScreen(point);
  tip.querySelector("img").src = source;
  tip.querySelector("bdi").textContent = name;
  tip.href = `${search}?id=${view.points.id[point]}`;
  tip.hidden = false;
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const left = x + 20 + width > view.width ? x - 20 - width : x + 20;
  tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, Math.min(view.height - height - 8, y - height / 2))}px)`;
  announce(`${name}. Enter searches from this photo.`);
}

function hideTip(tip, view) {
  tip.hidden = true;
  if (view.selected !== null) view.select(null);
}
