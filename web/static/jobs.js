// The jobs page: starts, follows, cancels and retries jobs.

import { fetchJson, follow, post } from "./api.js";
import { attempt } from "./attempt.js";
import { comparisonOf, progressOf, showSteps } from "./comparison.js";
import { plain } from "./errors.js";
import { fill, reveal, showNumbers } from "./items.js";
import { announce, main } from "./notices.js";

const FIRST_FAILURES = 100;
const KINDS = { running: "active", done: "good", failed: "bad", interrupted: "bad", unavailable: "bad" };
const ENDED_EARLY = ["interrupted", "cancelled", "failed"];
const REASONS = {
  format: (suffix) => `${suffix}, a format that is not read`,
  hidden: (name) => `hidden (${name})`,
  system: (name) => `system files (${name})`,
  excluded: (pattern) => `excluded by ${pattern}`,
  home: (name) => `in Lookalike’s own folder ${name}`,
};
const TITLES = { map: "Map", review: "Photos to review", activate: "Activation of a model", train: "Training of a model" };
const MOST_REMOVED = 100;
const { jobs: address, images } = main().dataset;
const list = main().querySelector(".list");
const totals = new Map(); // the sources of complete jobs → how many photos they had, for the progress of later ones

const shown = attempt(show);
attempt(showRemoved);
main().querySelector(".start")?.addEventListener("submit", (event) => {
  event.preventDefault();
  start(requestIn(event.target.elements));
});
main().querySelector("[data-map]")?.addEventListener("click", () => start({ kind: "map" }));

/** The request of the form; an empty limit of removals is left out. */
function requestIn({ source, label_from, sync, exclude, include_hidden, relabel, allow_removing: allowed }) {
  const request = { sources: [source.value], label_from: label_from.value || null, sync: sync.checked, include_hidden: include_hidden.checked, relabel: relabel.checked };
  const patterns = exclude.value.split("\n").filter((pattern) => pattern.trim());
  return { ...request, exclude: patterns, ...(allowed.value && { allow_removing: allowed.value }) };
}

async function show() {
  const { jobs, last_sync: sync } = await fetchJson(address);
  const note = main().querySelector("[data-sync]");
  note.hidden = !sync;
  if (sync) note.textContent = `Last scheduled sync, ${new Date(sync.ended_at).toLocaleString()}: ${sync.succeeded ? "completed" : "not completed"}, ${sync.indexed} photos indexed, ${sync.removed} removed, ${sync.failed} failed. ${plain(sync.error ?? "")}`;
  main().querySelector(".empty").hidden = jobs.length > 0;
  for (const job of jobs) if (job.state === "done" && !totals.has(sourcesOf(job))) totals.set(sourcesOf(job), job.seen);
  list.replaceChildren(...jobs.map(itemOf));
}

/** The photos that were removed by hand, the last ones first, each with a button that restores it. */
async function showRemoved() {
  const removed = main().querySelector(".removed");
  if (!removed) return;
  const { photos, total } = await fetchJson(`${images}/removed?limit=${MOST_REMOVED}`);
  removed.hidden = !total;
  removed.querySelector("summary").textContent = `Removed photos (${total.toLocaleString()})`;
  removed.querySelector("ul").replaceChildren(...photos.map(removedItem));
}

function removedItem({ id, path, label }) {
  const row = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { className: "button quiet", textContent: "Restore" });
  button.setAttribute("aria-label", `Restore ${path}`);
  button.addEventListener("click", () => attempt(async () => {
    await post(`${images}/${id}/restore`);
    await showRemoved();
    announce(`${path} is in the index again.`);
  }));
  row.append(Object.assign(document.createElement("bdi"), { textContent: path }), label ? ` (${label}) ` : " ", button);
  return row;
}

async function start(request) {
  await attempt(async () => {
    await shown; // the list would replace the new job, or show it twice
    add(await post(address, request));
  });
}

function add(job) {
  main().querySelector(".empty").hidden = true;
  list.prepend(itemOf(job));
  announce("The job is running.");
}

function itemOf(job) {
  const item = document.getElementById("job").content.firstElementChild.cloneNode(true);
  item.querySelector("[data-cancel]")?.addEventListener("click", () => attempt(() => post(`${address}/${job.id}/cancel`)));
  item.querySelector("[data-retry]")?.addEventListener("click", () => attempt(async () => add(await post(`${address}/${job.id}/retry`))));
  item.querySelector("details").addEventListener("toggle", ({ target }) => target.open && attempt(() => listFailures(target, job.id)));
  item.querySelector("[data-again]")?.addEventListener("click", () => start(requestOf(job)));
  update(item, job);
  if (job.state === "running") {
    const ended = (now) => {
      update(item, now);
      if (now.state !== "running") announce(`The job has ended: ${now.state}.`);
    };
    follow(`${address}/${job.id}/events`, ended, () => fill(item, { ...titleOf(job), pill: ["server unavailable", KINDS.unavailable] }));
  }
  return item;
}

function update(item, job) {
  const running = job.state === "running";
  fill(item, { ...titleOf(job), pill: pillOf(job), error: plain(job.error ?? "") });
  showProgress(item.querySelector("progress"), job, running);
  showNumbers(item, job.step ? { seconds: Math.round(job.seconds) } : TITLES[job.kind] ? computed(job) : indexed(job));
  item.querySelector(".remarks").replaceChildren(...remarks(job).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const failures = item.querySelector(".failures");
  failures.hidden = !job.failed;
  failures.querySelector("summary").textContent = `Failed photos (${job.failed.toLocaleString()})`;
  reveal(item, "[data-cancel]", running);
  reveal(item, "[data-models]", job.state === "done" && job.kind === "train");
  reveal(item, "[data-search]", job.state === "done" && job.kind === "index" && job.seen > job.failed);
  reveal(item, "[data-retry]", !running && job.failed > 0);
  reveal(item, "[data-again]", ENDED_EARLY.includes(job.state) && job.kind !== "activate" && !job.urls && !job.retry_of);
}

function titleOf(job) {
  const prefix = job.retry_of ? "Retry: " : "";
  return {
    title: TITLES[job.kind] ?? prefix + job.sources.join(", "),
    note: [new Date(job.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }), job.model].filter(Boolean).join(" · "),
  };
}

/** The state of a job, and how it is coloured: a job in which photos failed is not simply done. */
function pillOf({ state, failed, indexed, unchanged, moved = 0 }) {
  if (state !== "done" || !failed) return [state, KINDS[state]];
  return indexed + unchanged + moved ? ["done, some failed", "bad"] : ["all photos failed", "bad"];
}

/** How far a job is, if an earlier job has counted the photos of its sources. */
function showProgress(bar, job, running) {
  bar.hidden = !running;
  const total = job.kind === "index" && !job.retry_of ? totals.get(sourcesOf(job)) : undefined;
  const note = bar.nextElementSibling;
  note.hidden = !running || !(job.step || job.progress || (total > job.seen && job.seen));
  note.textContent = [job.model ? "" : progressOf(job), job.step].filter(Boolean).join(". ");
  if (job.progress && !job.model) return showSteps(bar, job, running);
  if (!(total > job.seen)) return bar.removeAttribute("value");
  [bar.max, bar.value] = [total, job.seen];
  note.textContent = `about ${total.toLocaleString()} photos, ${timeOf((job.seconds * (total - job.seen)) / job.seen)} left`;
}

function timeOf(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} seconds`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} minutes` : `${Math.round(seconds / 3600)} hours`;
}

function sourcesOf(job) {
  return JSON.stringify(job.sources);
}

/** The request that starts the same job again. */
function requestOf({ kind, training, sources, label_from, sync, include_hidden, exclude, relabel, pretrained }) {
  if (kind !== "index") return { kind, ...training };
  return { sources, label_from, sync, include_hidden, exclude, relabel, pretrained };
}

function indexed({ seen, indexed, unchanged, moved, removed, failed, skipped, images_per_second: rate, seconds }) {
  const speed = rate && indexed && { "photos per second": Math.round(rate) };
  return { seen, indexed, unchanged, ...(moved && { moved }), removed, failed, skipped, ...speed, seconds: Math.round(seconds) };
}

/** What was not removed and why, notices about labels, and why files were skipped: one line each. */
function remarks(job) {
  const { skipped_reasons: reasons = [], notices = [], removal_refused: refused = [] } = job;
  const kept = refused.map(({ source, would_remove: gone, of, reason }) => `Nothing was removed of ${source}: ${gone.toLocaleString()} of its ${of.toLocaleString()} photos seem to be gone. ${reason} If they are gone for good, index it again with ${gone} photos that may be removed (More options).`);
  const skipped = reasons.map(({ reason, detail, count, example }) => `${count.toLocaleString()} skipped: ${REASONS[reason](detail)}, for example ${example}`);
  const compared = comparisonOf(job);
  return [...(compared ? [compared] : []), ...kept, ...notices.map(plain).filter(Boolean), ...skipped];
}

/** A job that indexes no photos reports no numbers before its end. */
function computed({ seen, seconds }) {
  return seen ? { photos: seen, seconds: Math.round(seconds) } : {};
}

async function listFailures(details, job) {
  const { failures, total } = await fetchJson(`${address}/${job}/failures?limit=${FIRST_FAILURES}`);
  const rows = failures.map(({ path, reason }) => {
    const row = document.createElement("li");
    row.append(Object.assign(document.createElement("bdi"), { textContent: path }), ` ${plain(reason)}`);
    return row;
  });
  if (total > failures.length) rows.push(Object.assign(document.createElement("li"), { textContent: `and ${(total - failures.length).toLocaleString()} more` }));
  details.querySelector("ul").replaceChildren(...rows);
}
