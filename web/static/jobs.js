// The jobs: started, followed while they run, cancelled, repeated.

import { ask, follow, read, tell } from "./api.js";
import { figures, fill, reveal } from "./items.js";
import { dismiss, main, say, warn } from "./notices.js";

const FIRST_FAILURES = 100;
const KINDS = { running: "active", done: "good", failed: "bad", interrupted: "bad" };
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
  const { jobs } = await read(address);
  main().querySelector(".empty").hidden = jobs.length > 0;
  list.replaceChildren(...jobs.map(itemOf));
}

async function start(wanted) {
  await attempt(async () => add(await ask(address, wanted)));
}

function add(job) {
  main().querySelector(".empty").hidden = true;
  list.prepend(itemOf(job));
  say("The job runs.");
}

async function attempt(action) {
  try {
    dismiss();
    await action();
  } catch (problem) {
    warn(tell(problem));
  }
}

function itemOf(job) {
  const item = document.getElementById("job").content.firstElementChild.cloneNode(true);
  item.querySelector("[data-cancel]")?.addEventListener("click", () => attempt(() => ask(`${address}/${job.id}/cancel`)));
  item.querySelector("[data-retry]")?.addEventListener("click", () => attempt(async () => add(await ask(`${address}/${job.id}/retry`))));
  item.querySelector("details").addEventListener("toggle", ({ target }) => target.open && attempt(() => listFailures(target, job.id)));
  update(item, job);
  if (job.state === "running") {
    follow(`${address}/${job.id}/events`, (now) => {
      update(item, now);
      if (now.state !== "running") say(`The job ended: ${now.state}.`);
    });
  }
  return item;
}

function update(item, job) {
  const running = job.state === "running";
  const again = job.retry_of ? "Again: " : "";
  fill(item, {
    title: job.kind === "map" ? "Map of the collection" : again + job.sources.join(", "),
    pill: [job.state, KINDS[job.state]],
    note: `${new Date(job.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })} · ${job.model}`,
    error: job.error,
  });
  item.querySelector("progress").hidden = !running;
  figures(item, job.kind === "map" ? mapped(job) : indexed(job));
  const failures = item.querySelector(".failures");
  failures.hidden = !job.failed;
  failures.querySelector("summary").textContent = `What failed (${job.failed.toLocaleString()})`;
  reveal(item, "[data-cancel]", running);
  reveal(item, "[data-retry]", !running && job.failed > 0);
}

function indexed({ seen, indexed, unchanged, removed, failed, images_per_second: rate, seconds }) {
  const fast = rate && { "photos a second": Math.round(rate) };
  return { seen, indexed, unchanged, removed, failed, ...fast, seconds: Math.round(seconds) };
}

/** The map is computed as a whole: before its end there is nothing to count. */
function mapped({ seen, seconds }) {
  return seen ? { photos: seen, seconds: Math.round(seconds) } : {};
}

async function listFailures(details, job) {
  const { failures, total } = await read(`${address}/${job}/failures?limit=${FIRST_FAILURES}`);
  const rows = failures.map(({ uri, reason }) => {
    const row = document.createElement("li");
    row.append(Object.assign(document.createElement("bdi"), { textContent: uri }), ` ${reason}`);
    return row;
  });
  if (total > failures.length) rows.push(Object.assign(document.createElement("li"), { textContent: `and ${(total - failures.length).toLocaleString()} more` }));
  details.querySelector("ul").replaceChildren(...rows);
}
