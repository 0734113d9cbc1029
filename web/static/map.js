// The map of the collection: fetched, drawn, explained by a legend.

import { ask, follow, read, tell } from "./api.js";
import { main, say, warn } from "./notices.js";
import { Points } from "./map-points.js";
import { steer } from "./map-steer.js";
import { View } from "./map-view.js";

const COLOURED = 12; // labels with a colour of their own; the rest share a grey
const { map, images, search, jobs } = main().dataset;

read(map).then(show, (problem) => (problem.status === 404 ? offer() : warn(tell(problem))));

/** The map is not computed yet: offer to do so. */
function offer() {
  const missing = main().querySelector(".missing");
  missing.hidden = false;
  missing.querySelector("button")?.addEventListener("click", ({ target }) => compute(target, missing.querySelector("output")));
}

/** Have the map computed by a job, and show it when it is there. */
async function compute(button, progress) {
  button.disabled = true;
  progress.value = "Computing …";
  try {
    const job = await ask(jobs, { kind: "map" });
    follow(`${jobs}/${job.id}/events`, (now) => {
      if (now.state === "done") location.reload();
      else if (now.state !== "running") again(now.error ?? `The job ended: ${now.state}.`);
    });
  } catch (problem) {
    again(tell(problem));
  }

  function again(why) {
    progress.value = why;
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
    show: (point) => present(tip, view, point, photo(point)),
    hide: () => leave(tip, view),
    open: (point) => location.assign(`${search}?id=${points.id[point]}`),
  });
  stage.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    if (button.dataset.zoom === "whole") view.whole();
    else view.zoom(Number(button.dataset.zoom));
    leave(tip, view);
  }));
  const day = new Date(found.computed_at).toLocaleDateString([], { dateStyle: "medium" });
  const part = points.count < found.total ? `${points.count.toLocaleString()} of ${found.total.toLocaleString()}` : found.total.toLocaleString();
  stage.querySelector(".about").textContent = `${part} photos, laid out ${day}: alike ones lie together.`;
}

/** The labels with how many points carry each, the most frequent first. */
function rank({ label, labels }) {
  const counts = new Map();
  for (const one of label) counts.set(one, (counts.get(one) ?? 0) + 1);
  counts.delete(null);
  return [...counts].map(([one, count]) => ({ label: one, name: labels[one], count })).sort((a, b) => b.count - a.count);
}

/** A colour for each of so many labels, hues far apart and light by turns, then the grey of all others. */
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
    button.addEventListener("click", () => light(view, button, at));
    item.append(button);
    return item;
  }));
}

function light(view, button, at) {
  if (view.lit.delete(at)) button.ariaPressed = "false";
  else {
    view.lit.add(at);
    button.ariaPressed = "true";
  }
  view.redraw();
}

/** Show a point's photo beside it. */
function present(tip, view, point, source) {
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
  say(`${name}. Enter searches from this photo.`);
}

function leave(tip, view) {
  tip.hidden = true;
  if (view.selected !== null) view.select(null);
}
