// The models page: shows the models with their metrics and activates one of them.

import { describe, fetchJson, follow, post } from "./api.js";
import { fill, reveal, showNumbers } from "./items.js";
import { announce, dismiss, main, warn } from "./notices.js";

const METRICS = {
  recall_at_1: "recall@1",
  recall_at_5: "recall@5",
  map_at_r: "MAP@R",
  copy_recall_at_1: "copy recall@1",
  copy_recall_at_10: "copy recall@10",
};
const { models: address, jobs } = main().dataset;

fetchJson(address).then(show, (problem) => warn(describe(problem)));

function show({ models, serves }) {
  const ranked = [...models].sort((a, b) => b.current - a.current);
  main().querySelector(".list").replaceChildren(...ranked.map((model) => itemOf(model, serves)));
}

function itemOf(model, serves) {
  const item = document.getElementById("model").content.firstElementChild.cloneNode(true);
  fill(item, {
    title: model.id,
    pill: model.id === serves ? ["Active", "good"] : model.current ? ["Current"] : model.previous ? ["Previous"] : null,
    note: [model.backbone, model.recipe && `recipe ${model.recipe}`, model.dimension && `${model.dimension} dimensions`, model.precision].filter(Boolean).join(" · "),
    error: model.problem,
  });
  showNumbers(item, { ...(model.points !== null && { photos: model.points }), ...metricsOf(model.metrics) });
  reveal(item, "[data-activate]", !model.current && !model.previous && model.points !== 0);
  reveal(item, "[data-rollback]", model.previous);
  item.querySelector("[data-activate]")?.addEventListener("click", (event) => change(event, `${address}/${model.id}/activate`));
  item.querySelector("[data-rollback]")?.addEventListener("click", (event) => change(event, `${address}/rollback`));
  return item;
}

/** The metrics on the test photos or, if there are none, on the validation photos, beside those of the untrained network. */
function metricsOf({ test, val, untrained }) {
  const metrics = test ?? val;
  if (!metrics) return {};
  const before = (test ? untrained?.test : untrained?.val) ?? {};
  const shown = (name) => shownValue(metrics[name]) + (name in before ? ` (untrained ${shownValue(before[name])})` : "");
  return Object.fromEntries(Object.entries(METRICS).map(([name, title]) => [title, shown(name)]));
}

function shownValue(mean) {
  return typeof mean === "number" ? mean.toFixed(3) : "–";
}

async function change({ target }, call) {
  target.disabled = true;
  try {
    dismiss();
    const result = await post(call);
    if (result.models) return activated(result);
    announce("A job checks the model and activates it.");
    follow(`${jobs}/${result.id}/events`, (job) => job.state !== "running" && ended(job, target));
  } catch (problem) {
    target.disabled = false;
    warn(describe(problem));
  }
}

function activated(result) {
  show(result);
  const isUsed = result.models.some((model) => model.current && model.id === result.serves);
  announce(isUsed ? "The model is active." : `The model is the current one, but this server uses ${result.serves}, which LOOKALIKE_BUNDLE names.`);
}

async function ended(job, button) {
  button.disabled = false;
  if (job.state === "done") return activated(await fetchJson(address));
  warn(job.error ?? `The job has ended: ${job.state}.`);
}
