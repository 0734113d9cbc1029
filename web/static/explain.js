// Why a photo matched: over the query and over the result, how much each region adds to their similarity.

import { read, tell } from "./api.js";
import { heatMap, legend } from "./heat.js";
import { main } from "./notices.js";
import { photoOf } from "./upload.js";

/**
 * For an opened photo that a search found: a button that shows the regions instead of the photo, and a line for what
 * they tell. Nothing where the model does not know, or where the query's photo is not there.
 */
export function explanation(photo, id) {
  const query = main().querySelector(".query .frame:not(.blank)");
  if (!query || !main().dataset.explain) return [];
  const button = Object.assign(document.createElement("button"), { className: "button quiet wide", textContent: "Why did it match?", ariaPressed: "false" });
  button.dataset.why = "";
  const said = Object.assign(document.createElement("p"), { className: "reason", role: "status" });
  const plain = photo.querySelector(".frame");
  let regions;

  button.addEventListener("click", async () => {
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    try {
      regions ??= draw(await ask(query, id), query, plain);
      show(button.ariaPressed === "false");
    } catch (problem) {
      said.textContent = tell(problem);
    }
    button.ariaBusy = "false";
  });

  function show(explained) {
    button.ariaPressed = String(explained);
    (explained ? plain : regions.pair).replaceWith(explained ? regions.pair : plain);
    said.textContent = explained ? regions.summary : "";
    if (explained) regions.pair.scrollIntoView({ block: "nearest" });
  }

  return [button, said];
}

function ask(query, result) {
  const fields = new FormData(document.getElementById("search"));
  return read(main().dataset.explain, { method: "POST", ...question(query, result, fields.get("id"), fields.get("crop")) });
}

function question(query, result, id, crop) {
  if (id) {
    const [x, y, width, height] = crop?.split(",").map(Number) ?? [0, 0, 1, 1];
    return { headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id, result, crop: { x, y, width, height } }) };
  }
  const body = new FormData();
  body.set("image", photoOf(query));
  if (crop) body.set("crop", crop);
  body.set("result", result);
  return { body };
}

function draw({ query, result }, searched, found) {
  const [here, there] = [query, result].map(({ contributions }) => contributions.flat());
  const most = Math.max(...here, ...there);
  const pair = Object.assign(document.createElement("div"), { className: "pair" });
  pair.append(figure("Searched with", searched, query, most), figure("Found", found, result, most), legend());
  const hidden = [query, result].some(({ seen }) => seen.width * seen.height < 0.999) ? " The model saw nothing of the dark margins." : "";
  return { pair, summary: `Half of what makes them alike lies in ${half(here)} % of the photo you search with and ${half(there)} % of this one.${hidden}` };
}

/** The photo of a frame under its heat map, with a name. */
function figure(name, frame, part, most) {
  const made = document.createElement("figure");
  const copy = Object.assign(document.createElement("div"), { className: "frame" });
  const ratio = Number(frame.style.getPropertyValue("--ratio"));
  copy.style.setProperty("--ratio", ratio);
  copy.append(frame.querySelector("img").cloneNode(), heatMap(part, ratio, most));
  made.append(copy, Object.assign(document.createElement("figcaption"), { textContent: name }));
  return made;
}

/** The share of regions, in percent, that together make half of what makes the photos alike. */
function half(values) {
  const positive = values.filter((value) => value > 0).sort((one, other) => other - one);
  let left = positive.reduce((sum, value) => sum + value, 0) / 2;
  const enough = positive.findIndex((value) => (left -= value) <= 0) + 1;
  return Math.round((100 * enough) / values.length);
}
