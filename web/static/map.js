// The map page: fetches the map and draws it with a legend, or offers to compute it.

import { fetchJson, follow, post } from "./api.js";
import { describe, plain } from "./errors.js";
import { announce, main, warn } from "./notices.js";
import { keepView } from "./map-kept.js";
import { drawLegend } from "./map-legend.js";
import { marks } from "./map-marks.js";
import { Points } from "./map-points.js";
import { markSearch } from "./map-search.js";
import { steer } from "./map-steer.js";
import { View } from "./map-view.js";

const MOST_MARKED = 300; // labels with their own mark; all others are grey
const GAP = 20; // pixels between a point and its preview
const { map, images, photo, jobs } = main().dataset;

fetchJson(map).then(show, (problem) => (problem.status === 404 ? offer(main().querySelector(".missing")) : warn(describe(problem))));

/** Show the offer to compute the map, with its button. */
function offer(place) {
  place.hidden = false;
  place.querySelector("button")?.addEventListener("click", ({ target }) => compute(target, place.querySelector("output")));
}

/** Start a job that computes the map, and reload when it is done. */
async function compute(button, progress) {
  button.disabled = true;
  progress.value = "Computing…";
  try {
    const job = await post(jobs, { kind: "map" });
    follow(`${jobs}/${job.id}/events`, (now) => {
      if (now.state === "done") location.reload();
      else if (now.state !== "running") fail(plain(now.error ?? "") || `The job has ended: ${now.state}.`);
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
  const marked = ranked.slice(0, MOST_MARKED);
  const markOf = new Map(marked.map(({ label }, at) => [label, at]));
  points.mark = points.label.map((label) => markOf.get(label) ?? marked.length);

  const stage = main().querySelector(".stage");
  stage.hidden = false;
  describeMap(stage, found, points);
  const covers = stage.querySelectorAll(".panel, .zoom, .stale:not([hidden])");
  const thumbnail = (i) => `${images}${points.id[i]}/thumbnail`;
  const view = new View(stage.querySelector("canvas"), points, { marksOf: (isDark) => marks(marked.length, isDark), thumbnail, covers });
  const isKept = keepView(view, found.computed_at);
  drawLegend(stage.querySelector(".legend"), view, rowsOf(points, marked, ranked.length - marked.length));
  view.resize();
  markSearch(stage, view, !isKept);
  explore(stage, view);
}

/** Say what the map shows, and whether it is out of date. */
function describeMap(stage, found, points) {
  const day = new Date(found.computed_at).toLocaleDateString([], { dateStyle: "medium" });
  const part = points.count < found.total ? `${points.count.toLocaleString()} of ${found.total.toLocaleString()}` : found.total.toLocaleString();
  stage.querySelector(".about").textContent = `${part} photos, computed on ${day}. Similar photos are close together.`;
  if (!found.changed) return;
  const stale = stage.querySelector(".stale");
  stale.querySelector("span").textContent = `${found.changed.toLocaleString()} ${found.changed === 1 ? "photo has" : "photos have"} changed since the map was computed.`;
  offer(stale);
}

/** Preview and open photos with mouse, fingers and keyboard. */
function explore(stage, view) {
  const tip = stage.querySelector(".tip");
  const address = (point) => `${photo}${view.points.id[point]}`;
  steer(view, {
    show: (point) => {
      const name = view.points.nameOf(point) ?? "No label";
      fillTip(tip, { name, source: view.thumbnail(point), address: address(point) });
      view.select(point);
      announce(`${name}. Enter opens the photo.`);
    },
    hide: () => view.selected !== null && view.select(null),
    open: (point) => location.assign(address(point)),
  });
  view.afterDraw(() => placeTip(tip, view));
  stage.querySelectorAll("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    if (button.dataset.zoom === "whole") view.camera.whole();
    else if (Number(button.dataset.zoom)) view.camera.zoomBy(Number(button.dataset.zoom));
  }));
}

function fillTip(tip, { name, source, address }) {
  tip.href = address;
  tip.querySelector("bdi").textContent = name;
  tip.querySelector("img").src = source;
}

/** Place the preview of the selected point beside it, or above or below it on narrow screens. */
function placeTip(tip, { selected, camera, points }) {
  tip.hidden = selected === null;
  if (tip.hidden) return;
  const [x, y] = camera.toScreen(points.x[selected], points.y[selected]);
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  const within = (at, size, end) => Math.max(8, Math.min(end - size - 8, at));
  const isBeside = Math.max(x, camera.width - x) > width + GAP;
  const left = isBeside ? (x + GAP + width > camera.width ? x - GAP - width : x + GAP) : within(x - width / 2, width, camera.width);
  const top = isBeside ? within(y - height / 2, height, camera.height) : y > height + GAP ? y - GAP - height : y + GAP;
  tip.style.transform = `translate(${left}px, ${top}px)`;
}

/** The labels and their number of points, most frequent first. */
function rank({ label, labels }) {
  const counts = new Map();
  for (const one of label) counts.set(one, (counts.get(one) ?? 0) + 1);
  counts.delete(null);
  return [...counts].map(([one, count]) => ({ label: one, name: labels[one], count })).sort((a, b) => b.count - a.count);
}

/** The rows of the legend: the labels with a mark of their own, and all others. */
function rowsOf(points, marked, further) {
  const rows = marked.map(({ name, count }, mark) => ({ name, count, mark }));
  const others = points.count - marked.reduce((sum, { count }) => sum + count, 0);
  if (others) rows.push({ name: further ? `${further.toLocaleString()} other labels` : "No label", count: others, mark: marked.length });
  return rows;
}
