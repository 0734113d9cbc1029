// The models with what their training measured; another one can be made the one that serves.

import { ask, read, tell } from "./api.js";
import { figures, fill, reveal } from "./items.js";
import { dismiss, main, say, warn } from "./notices.js";

const MEASURED = { recall_at_1: "recall@1", recall_at_5: "recall@5", map_at_r: "MAP@R" };
const { models: address } = main().dataset;

read(address).then(show, (problem) => warn(tell(problem)));

function show({ models }) {
  const ranked = [...models].sort((a, b) => b.current - a.current);
  main().querySelector(".list").replaceChildren(...ranked.map(itemOf));
}

function itemOf(model) {
  const item = document.getElementById("model").content.firstElementChild.cloneNode(true);
  fill(item, {
    title: model.id,
    pill: model.current ? ["serves", "good"] : model.previous ? ["served before"] : null,
    note: [model.backbone, model.recipe && `recipe ${model.recipe}`, model.dimension && `${model.dimension} dimensions`, model.precision].filter(Boolean).join(" · "),
    error: model.problem,
  });
  figures(item, { ...(model.points !== null && { photos: model.points }), ...measured(model.metrics) });
  reveal(item, "[data-activate]", !model.current && !model.previous && model.points !== 0);
  reveal(item, "[data-rollback]", model.previous);
  item.querySelector("[data-activate]")?.addEventListener("click", (event) => change(event, `${address}/${model.id}/activate`));
  item.querySelector("[data-rollback]")?.addEventListener("click", (event) => change(event, `${address}/rollback`));
  return item;
}

/** What training measured on the test photos or, where there were none, on the validation photos. */
function measured({ test, val }) {
  const metrics = test ?? val ?? {};
  const known = Object.entries(MEASURED).filter(([name]) => typeof metrics[name] === "number");
  return Object.fromEntries(known.map(([name, title]) => [title, metrics[name].toFixed(3)]));
}

async function change({ target }, call) {
  target.disabled = true;
  try {
    dismiss();
    show(await ask(call));
    say("Another model serves now.");
  } catch (problem) {
    target.disabled = false;
    warn(tell(problem));
  }
}
