// A heat map over a photo: how much each of its regions counts.

// From nothing to most, as [red, green, blue, opacity]: ever lighter, so that it can be read without telling colours
// apart, and ever clearer, so that what counts is seen.
const HEAT = [[12, 7, 54, 0.82], [87, 16, 110, 0.72], [188, 55, 84, 0.6], [249, 142, 9, 0.5], [252, 255, 164, 0.45]];
const SIDE = 480; // pixels of a heat map's longer side
const UNSEEN = "rgb(20 18 16 / .85)";
const PLACES = [
  ["in the upper left", "at the top", "in the upper right"],
  ["on the left", "in the centre", "on the right"],
  ["in the lower left", "at the bottom", "in the lower right"],
];

/**
 * What the regions of a photo add to its likeness with another, to be laid over the photo.
 * ratio: the photo's width through its height. most: the contribution that is drawn as the most.
 */
export function heatMap({ seen, contributions }, ratio, most) {
  const canvas = Object.assign(document.createElement("canvas"), { role: "img", ariaLabel: `What counts most is ${place(contributions)}` });
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

/** What the colours mean. */
export function legend() {
  const made = Object.assign(document.createElement("p"), { className: "scale hint" });
  made.append("adds nothing", document.createElement("i"), "adds most");
  return made;
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
  return PLACES[third(down)][third(right)];
}
