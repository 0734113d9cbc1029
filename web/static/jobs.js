// The jobs page: starts, follows, cancels and retries jobs.

import { describe, fetchJson, follow, post } from "./api.js";
import { fill, reveal, showNumbers } from "./items.js";
import { announce, dismiss, main, warn } from "./notices.js";

const FIRST_FAILURES = 100;
const KINDS = { running: "active", done: "good", failed: "bad", interrupted: "bad" };
const REASONS = {
  format: (suffix) => `${suffix}, a format that is not read`,
  hidden: (name) => `hidden (${name})`,
  system: (name) => `system files (${name})`,
  excluded: (pattern) => `excluded by ${pattern}`,
  home: (name) => `in Lookalike’s own folder ${name}`,
};
const TITLES = { map: "Map of the collection", activate: "Activation of a model" };
const { jobs: address } = main().dataset;
const list = main().querySelector(".list");

attempt(show);
main().querySelector(".start")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = event.target.elements;
  start({ sources: [fields.source.value], label_from: fields.label_from.value || null, sync: fields.sync.checked });
});
main().querySelector("[data-map]")?.addEventListener("click", () => start({ kind: "map" }));

async function show() {
  const { jobs, last_sync: sync } = await fetchJson(address);
  const note = main().querySelector("[data-sync]");
  note.hidden = !sync;
  if (sync) note.textContent = `Last scheduled sync, ${new Date(sync.ended_at).toLocaleString()}: ${sync.succeeded ? "completed" : "not completed"}, ${sync.indexed} photos indexed, ${sync.removed} removed, ${sync.failed} failed. ${sync.error ?? ""}`;
  main().querySelector(".empty").hidden = jobs.length > 0;
  list.replaceChildren(...jobs.map(itemOf));
}

async function start(request) {
  await attempt(async () => add(await post(address, request)));
}

function add(job) {
  main().querySelector(".empty").hidden = true;
  list.prepend(itemOf(job));
  announce("The job is running.");
}

async function attempt(action) {
  try {
    dismiss();
    await action();
  } catch (problem) {
    warn(describe(problem));
  }
}

function itemOf(job) {
  const item = document.getElementById("job").content.firstElementChild.cloneNode(true);
  item.querySelector("[data-cancel]")?.addEventListener("click", () => attempt(() => post(`${address}/${job.id}/cancel`)));
  item.querySelector("[data-retry]")?.addEventListener("click", () => attempt(async () => add(await post(`${address}/${job.id}/retry`))));
  item.querySelector("details").addEventListener("toggle", ({ target }) => target.open && attempt(() => listFailures(target, job.id)));
  update(item, job);
  if (job.state === "running") {
    follow(`${address}/${job.id}/events`, (now) => {
      update(item, now);
      if (now.state !== "running") announce(`The job has ended: ${now.state}.`);
    });
  }
  return item;
}

function update(item, job) {
  const running = job.state === "running";
  const prefix = job.retry_of ? "Retry: " : "";
  fill(item, {
    title: TITLES[job.kind] ?? prefix + job.sources.join(", "),
    pill: [job.state, KINDS[job.state]],
    note: `${new Date(job.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })} · ${job.model}`,
    error: job.error,
  });
  item.querySelector("progress").hidden = !running;
  showNumbers(item, TITLES[job.kind] ? computed(job) : indexed(job));
  item.querySelector(".remarks").replaceChildren(...remarks(job).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  const failures = item.querySelector(".failures");
  failures.hidden = !job.failed;
  failures.querySelector("summary").textContent = `Failed photos (${job.failed.toLocaleString()})`;
  reveal(item, "[data-cancel]", running);
  reveal(item, "[data-retry]", !running && job.failed > 0);
}

function indexed({ seen, indexed, unchanged, removed, failed, skipped, images_per_second: rate, seconds }) {
  const speed = rate && { "photos per second": Math.round(rate) };
  return { seen, indexed, unchanged, removed, failed, skipped, ...speed, seconds: Math.round(seconds) };
}

/** Why files were skipped, and notices about labels: one line each. */
function remarks({ skipped_reasons: reasons = [], notices = [] }) {
  const skipped = reasons.map(({ reason, detail, count, example }) => `${count.toLocaleString()} skipped: ${REASONS[reason](detail)}, for example ${example}`);
  return [...notices, ...skipped];
}

/** A job that indexes no photos reports no numbers before its end. */
function computed({ seen, seconds }) {
  return seen ? { photos: seen, seconds: Math.round(seconds) } : {};
}

async function listFailures(details, job) {
  const { failures, total } = await fetchJson(`${address}/${job}/failures?limit=${FIRST_FAILURES}`);
  const rows = failures.map(({ path, reason }) => {
    const row = document.createElement("li");
    row.append(Object.assign(document.createElement("bdi"), { textContent: path }), ` ${reason}`);
    return row;
  });
  if (total > failures.length) rows.push(Object.assign(document.createElement("li"), { textContent: `and ${(total - failures.length).toLocaleString()} more` }));
  details.querySelector("ul").replaceChildren(...rows);
}
