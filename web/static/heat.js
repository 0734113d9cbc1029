// Draws a heat map over a photo: the contribution of each of its regions.

// From no to the largest contribution, as [red, green, blue, opacity]. Lightness increases, so that the map is readable
// with a colour vision deficiency, and opacity decreases, so that important regions stay visible.
const HEAT = [[12, 7, 54, 0.82], [87, 16, 110, 0.72], [188, 55, 84, 0.6], [249, 142, 9, 0.5], [252, 255, 164, 0.45]];
const SIDE = 480; // pixels of a heat map's longer side
const UNSEEN = "rgb(20 18 16 / .85)";
const PLACES = [
  ["in the upper left", "at the top", "in the upper right"],
  ["on the left", "in the centre", "on the right"],
  ["in the lower left", "at the bottom", "in the lower right"],
];

/**
 * A canvas with the contribution of each region, to be placed over the photo.
 * ratio: the photo's width divided by its height. max: the contribution with the brightest colour.
 */
export function heatMap({ seen, contributions }, ratio, max) {
  const canvas = Object.assign(document.createElement("canvas"), { role: "img", ariaLabel: `The largest contribution is ${place(contributions)}` });
  [canvas.width, canvas.height] = [SIDE * Math.min(1, ratio), SIDE / Math.max(1, ratio)].map(Math.round);
  const box = [seen.x * canvas.width, seen.y * canvas.height, seen.width * canvas.width, seen.height * canvas.height];
  const context = canvas.getContext("2d");
  context.fillStyle = UNSEEN;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.clearRect(...box);
  context.imageSmoothingQuality = "high";
  context.drawImage(cells(contributions, max), ...box);
  return canvas;
}

/** The legend of the colours. */
export function legend() {
  const made = Object.assign(document.createElement("p"), { className: "scale hint" });
  made.append("no contribution", document.createElement("i"), "largest");
  return made;
}

/** An image with one pixel per region. */
function cells(contributions, max) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [contributions[0].length, contributions.length];
  const colours = contributions.flat().flatMap((value) => colour(max > 0 ? Math.max(value, 0) / max : 0));
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(colours), canvas.width), 0, 0);
  return canvas;
}

function colour(part) {
  const at = part * (HEAT.length - 1);
  const below = Math.min(Math.floor(at), HEAT.length - 2);
  const mixed = HEAT[below].map((channel, index) => channel + (at - below) * (HEAT[below + 1][index] - channel));
  return [...mixed.slice(0, 3), 255 * mixed[3]];
}

/** The location of the centroid of the contributions, in words. */
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
