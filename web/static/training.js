// Training on the models page: starts a job, follows and cancels it, and shows how the new model compares.

import { fetchJson, follow, post } from "./api.js";
import { attempt } from "./attempt.js";
import { comparisonOf, progressOf, showSteps } from "./comparison.js";
import { plain } from "./errors.js";
import { fill, reveal, showNumbers } from "./items.js";
import { announce, main, warn } from "./notices.js";

const RECENT = 20; // jobs among which the last training is looked up
const KINDS = { running: "active", done: "good" };

/** Set up the form; `activate` is called with a button and the id of a model, `renew` when there may be a new model. */
export function offerTraining(address, activate, renew) {
  const form = main().querySelector("[data-train]");
  const item = main().querySelector(".training");
  if (!form) return;
  let shown = null; // the job
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      await found; // it would replace the new one
      watch(await post(address, { kind: "train", recipe: form.elements.recipe.value }));
      announce("The training is running.");
    });
  });
  item.querySelector("[data-cancel]").addEventListener("click", () => attempt(() => post(`${address}/${shown.id}/cancel`)));
  item.querySelector("[data-use]").addEventListener("click", (event) => activate(event, shown.model));
  const found = attempt(async () => {
    const { jobs } = await fetchJson(`${address}?limit=${RECENT}`);
    const last = jobs.find((job) => job.kind === "train");
    if (last) watch(last);
  });

  function watch(job) {
    update(job);
    if (job.state !== "running") return;
    follow(`${address}/${job.id}/events`, (now) => {
      update(now);
      if (now.state === "running") return;
      announce(`The training has ended: ${now.state}.`);
      renew();
    }, () => warn("The server can’t be reached; the training may still be running."));
  }

  function update(job) {
    shown = job;
    const isRunning = job.state === "running";
    form.querySelector("button").disabled = isRunning;
    item.hidden = false;
    const note = [`recipe ${job.training.recipe}`, job.model].filter(Boolean).join(" · ");
    fill(item, { title: "Training", pill: [job.state, KINDS[job.state] ?? "bad"], note, error: plain(job.error ?? "") });
    showSteps(item.querySelector("progress"), job, isRunning);
    const text = isRunning ? [progressOf(job), job.model ? "Indexing the photos with the new model …" : job.step].filter(Boolean).join(". ") : comparisonOf(job);
    const line = item.querySelector(".left");
    [line.hidden, line.textContent] = [!text, text];
    showNumbers(item, job.seen ? { "photos indexed": job.indexed + job.unchanged, ...(job.failed && { failed: job.failed }) } : {});
    reveal(item, "[data-cancel]", isRunning);
    reveal(item, "[data-use]", job.state === "done");
  }
}
