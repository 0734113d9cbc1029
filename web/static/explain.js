// Explains a match: heat maps of the query and the result show how much each region contributes to their similarity.

import { fetchJson } from "./api.js";
import { describe } from "./errors.js";
import { heatMap, legend } from "./heat.js";
import { main } from "./notices.js";
import { photoOf } from "./upload.js";

/**
 * For the details of a result: a button that shows the heat maps in place of the photo, and a line for their summary.
 * Empty if the model cannot explain its scores, or if the query photo is not available.
 */
export function explanation(photo, id) {
  const query = main().querySelector(".query .frame:not(.blank)");
  if (!query || !main().dataset.explain) return [];
  const button = Object.assign(document.createElement("button"), { className: "button quiet wide", textContent: "Why did it match?", ariaPressed: "false" });
  button.dataset.why = "";
  const summary = Object.assign(document.createElement("p"), { className: "reason", role: "status" });
  const plain = photo.querySelector(".frame");
  let regions;

  button.addEventListener("click", async () => {
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    try {
      regions ??= draw(await request(query, id), query, plain);
      show(button.ariaPressed === "false");
    } catch (problem) {
      summary.textContent = describe(problem);
    }
    button.ariaBusy = "false";
  });

  function show(explained) {
    button.ariaPressed = String(explained);
    (explained ? plain : regions.pair).replaceWith(explained ? regions.pair : plain);
    summary.textContent = explained ? regions.summary : "";
    if (explained) regions.pair.scrollIntoView({ block: "nearest" });
  }

  return [button, summary];
}

function request(query, result) {
  const fields = new FormData(document.getElementById("search"));
  return fetchJson(main().dataset.explain, { method: "POST", ...requestOptions(query, result, fields) });
}

function requestOptions(query, result, fields) {
  const [id, crop, look] = ["id", "crop", "look"].map((name) => fields.get(name));
  if (id) {
    const [x, y, width, height] = crop?.split(",").map(Number) ?? [0, 0, 1, 1];
    return { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id, result, look: look && Number(look), crop: { x, y, width, height } }) };
  }
  const body = new FormData();
  body.set("image", photoOf(query));
  if (crop) body.set("crop", crop);
  if (look) body.set("look", look);
  body.set("result", result);
  return { body };
}

function draw({ query, result }, searched, found) {
  const [here, there] = [query, result].map(({ contributions }) => contributions.flat());
  const max = Math.max(...here, ...there);
  const pair = Object.assign(document.createElement("div"), { className: "pair" });
  pair.append(figure("Query", searched, query, max), figure("Result", found, result, max), legend());
  const hidden = [query, result].some(({ seen }) => seen.width * seen.height < 0.999) ? " The model does not see the dark margins." : "";
  return { pair, summary: `Half of the similarity comes from ${half(here)}% of the query photo and ${half(there)}% of this photo.${hidden}` };
}

/** A photo below its heat map, with a caption. */
function figure(name, frame, part, max) {
  const made = document.createElement("figure");
  const copy = Object.assign(document.createElement("div"), { className: "frame" });
  const ratio = Number(frame.style.getPropertyValue("--ratio"));
  copy.style.setProperty("--ratio", ratio);
  copy.append(frame.querySelector("img").cloneNode(), heatMap(part, ratio, max));
  made.append(copy, Object.assign(document.createElement("figcaption"), { textContent: name }));
  return made;
}

/** The percentage of regions that together account for half of the positive contributions. */
function half(values) {
  const positive = values.filter((value) => value > 0).sort((one, other) => other - one);
  let left = positive.reduce((sum, value) => sum + value, 0) / 2;
  const enough = positive.findIndex((value) => (left -= value) <= 0) + 1;
  return Math.round((100 * enough) / values.length);
}
