// The models page: shows the models with their metrics and activates one of them.

import { fetchJson, follow, post } from "./api.js";
import { describe, kindOf, plain } from "./errors.js";
import { fill, reveal, showNumbers } from "./items.js";
import { announce, dismiss, main, warn } from "./notices.js";
import { offerTraining } from "./training.js";

const METRICS = {
  recall_at_1: "recall@1",
  recall_at_5: "recall@5",
  map_at_r: "MAP@R",
  copy_recall_at_1: "copy recall@1",
  copy_recall_at_10: "copy recall@10",
};
const RISKS = new Set(["worse-model", "not-comparable"]); // reasons for which a model is not activated unless the user insists
const { models: address, jobs } = main().dataset;

renew();
offerTraining(jobs, (event, model) => change(event, `${address}/${model}/activate`), renew);

function renew() {
  fetchJson(address).then(show, (problem) => warn(describe(problem)));
}

function show({ models, serves }) {
  const ranked = [...models].sort((a, b) => b.current - a.current);
  main().querySelector(".list").replaceChildren(...ranked.map((model) => itemOf(model, serves, ranked[0])));
}

function itemOf(model, serves, current) {
  const item = document.getElementById("model").content.firstElementChild.cloneNode(true);
  fill(item, {
    title: model.id,
    pill: model.id === serves ? ["Active", "good"] : model.current ? ["Current"] : model.previous ? ["Previous"] : null,
    note: [model.backbone, model.recipe && `recipe ${model.recipe}`, model.dimension && `${model.dimension} dimensions`, model.precision].filter(Boolean).join(" · "),
    error: plain(model.problem ?? ""),
  });
  item.querySelector(".measured").textContent = measured(model, current);
  showNumbers(item, { ...(model.points !== null && { photos: model.points }), ...metricsOf(model.metrics) });
  reveal(item, "[data-activate]", !model.current && !model.previous && model.points !== 0);
  reveal(item, "[data-rollback]", model.previous);
  item.querySelector("[data-activate]")?.addEventListener("click", (event) => change(event, `${address}/${model.id}/activate`));
  item.querySelector("[data-rollback]")?.addEventListener("click", (event) => change(event, `${address}/rollback`));
  return item;
}

/** When and on what a model was trained and measured. */
function measured({ created_at: created, training_data: data, metrics }, current) {
  if (!data) return "";
  const [split, name] = metrics.test ? ["test", "test"] : ["val", "validation"];
  const count = (data.counts[split] ?? 0).toLocaleString();
  const same = !current.training_data || current.training_data.digest === data.digest;
  const other = same ? "" : " These are other photos than those of the current model, so the metrics can't be compared; activating a model compares both on the same photos.";
  return `Trained on ${new Date(created).toLocaleDateString([], { dateStyle: "medium" })} with ${(data.counts.train ?? 0).toLocaleString()} photos of ${data.name}, measured on ${count} ${name} photos.${other}`;
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
    follow(`${jobs}/${result.id}/events`, (job) => job.state !== "running" && ended(job, target, call));
  } catch (problem) {
    target.disabled = false;
    warn(RISKS.has(kindOf(problem)) ? risky(plain(problem.detail), target, call) : describe(problem));
  }
}

/** A notice that a model is worse than the current one or was not compared with it, with a button to activate it all the same. */
function risky(detail, target, call) {
  const notice = Object.assign(document.createElement("div"), { className: "notice", role: "alert", textContent: `${detail} ` });
  const button = Object.assign(document.createElement("button"), { className: "button quiet", textContent: "Activate it anyway" });
  button.addEventListener("click", () => change({ target }, `${call}?max_loss=1`));
  notice.append(button);
  return notice;
}

function activated(result) {
  show(result);
  const isUsed = result.models.some((model) => model.current && model.id === result.serves);
  announce(isUsed ? "The model is active." : `The model is the current one, but this server uses ${result.serves}, which LOOKALIKE_BUNDLE names.`);
}

async function ended(job, button, call) {
  button.disabled = false;
  if (job.state === "done") return activated(await fetchJson(address));
  const reason = plain(job.error ?? "") || `The job has ended: ${job.state}.`;
  warn(RISKS.has(job.error_type) ? risky(reason, button, call) : reason);
}
