// Why a photo matched: over the query and over the result, how much each region adds to their similarity.

import { tell } from "./api.js";
import { main } from "./notices.js";
import { photoOf } from "./upload.js";

// From nothing to most, as [red, green, blue, opacity]: ever lighter, so that it can be read without telling colours
// apart, and ever clearer, so that what counts is seen.
const HEAT = [[12, 7, 54, 0.82], [87, 16, 110, 0.72], [188, 55, 84, 0.6], [249, 142, 9, 0.5], [252, 255, 164, 0.45]];
const SIDE = 480; // pixels of a heat map's longer side
const UNSEEN = "rgb(20 18 16 / .85)";
const PLACES = [["upper left", "top", "upper right"], ["left", "centre", "right"], ["lower left", "bottom", "lower right"]];

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

async function ask(query, result) {
  const fields = new FormData(document.getElementById("search"));
  const answer = await fetch(main().dataset.explain, { method: "POST", ...question(query, result, fields.get("id"), fields.get("crop")) });
  const said = await answer.json();
  if (!answer.ok) throw said;
  return said;
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

function draw({ query, result }, ...frames) {
  const parts = [query, result].map((part) => ({ ...part, values: part.contributions.flat() }));
  const most = Math.max(...parts.flatMap(({ values }) => values));
  const pair = Object.assign(document.createElement("div"), { className: "pair" });
  pair.append(...parts.map((part, at) => figure(["Your photo", "This photo"][at], frames[at], part, most)), legend());
  const [here, there] = parts.map(({ values }) => `${half(values)} %`);
  const hidden = parts.some(({ seen }) => seen.width * seen.height < 0.999) ? " The model saw nothing of the dark margins." : "";
  return { pair, summary: `Half of what makes them alike lies in ${here} of your photo and ${there} of this one.${hidden}` };
}

function figure(name, frame, { seen, contributions }, most) {
  const made = document.createElement("figure");
  const copy = Object.assign(document.createElement("div"), { className: "frame" });
  const ratio = Number(frame.style.getPropertyValue("--ratio"));
  copy.style.setProperty("--ratio", ratio);
  copy.append(frame.querySelector("img").cloneNode(), heat(ratio, seen, contributions, most, `What counts most is ${place(contributions)}`));
  made.append(copy, Object.assign(document.createElement("figcaption"), { textContent: name }));
  return made;
}

function heat(ratio, seen, contributions, most, label) {
  const canvas = Object.assign(document.createElement("canvas"), { role: "img", ariaLabel: label });
  [canvas.width, canvas.height] = [SIDE * Math.min(1, ratio), SIDE / Math.max(1, ratio)].map(Math.round);
  const box = [seen.x * canvas.width, seen.y * canvas.height, seen.width * canvas.width, seen.height * canvas.height];
  const context = canvas.getContext("2d");
  context.fillStyle = UNSEEN;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.clearRect(...box);
  context.imageSmoothingQuality = "high";
  context.drawImage(cells(contributions, most), ...box);
  return canvas;
}

/** A picture with a pixel for each region. */
function cells(contributions, most) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [contributions[0].length, contributions.length];
  const colours = contributions.flat().flatMap((value) => colour(most > 0 ? Math.max(value, 0) / most : 0));
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(colours), canvas.width), 0, 0);
  return canvas;
}

function colour(part) {
  const at = part * (HEAT.length - 1);
  const below = Math.min(Math.floor(at), HEAT.length - 2);
  const mixed = HEAT[below].map((channel, index) => channel + (at - below) * (HEAT[below + 1][index] - channel));
  return [...mixed.slice(0, 3), 255 * mixed[3]];
}

function legend() {
  const made = Object.assign(document.createElement("p"), { className: "scale hint" });
  made.append("adds nothing", document.createElement("i"), "adds most");
  return made;
}

/** Where the contributions have their centre of gravity, in words. */
function place(contributions) {
  let [down, right, sum] = [0, 0, 0];
  contributions.forEach((row, y) => row.forEach((value, x) => {
    const weight = Math.max(value, 0) ** 2;
    down += (weight * (y + 0.5)) / contributions.length;
    right += (weight * (x + 0.5)) / row.length;
    sum += weight;
  }));
  const third = (total) => (sum ? Math.min(2, Math.floor((3 * total) / sum)) : 1);
  return `in the ${PLACES[third(down)][third(right)]}`;
}

/** The share of regions, in percent, that together make half of what makes the photos alike. */
function half(values) {
  const positive = values.filter((value) => value > 0).sort((one, other) => other - one);
  let left = positive.reduce((sum, value) => sum + value, 0) / 2;
  const enough = positive.findIndex((value) => (left -= value) <= 0) + 1;
  return Math.round((100 * enough) / values.length);
}
