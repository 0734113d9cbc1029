// The names of the labels, written where their photos are. If names would overlap, that of the larger cluster is written;
// when the map is enlarged, there is space for more.

const FONT = "600 13px system-ui, sans-serif";
const HEIGHT = 20; // pixels of a name, with its margin
const MAX_LETTERS = 24;
const MAX_NAMES = 60; // written at once
const MOST_CELLS = 50; // per side of the grid in which neighbouring cells of a label are one cluster
const LEAST_SHARE = 0.1; // of the photos of a label: smaller clusters have no name

/** The clusters of each label, largest first: { x, y, label, mark, count }. */
export function clustersOf(points) {
  const byLabel = new Map();
  points.label.forEach((label, i) => label !== null && (byLabel.get(label) ?? byLabel.set(label, []).get(label)).push(i));
  const side = Math.max(4, Math.min(MOST_CELLS, Math.round(Math.sqrt(points.count) / 1.5)));
  const found = [...byLabel].flatMap(([label, members]) =>
    groups(points, members, side)
      .filter((group) => group.length >= LEAST_SHARE * members.length)
      .map((group) => ({ ...middle(points, group), label: points.labels[label], mark: points.mark[group[0]], count: group.length })),
  );
  return found.sort((one, other) => other.count - one.count);
}

/** Write the names of clusters that neither overlap each other nor the rectangles in `taken`; returns those written. */
export function writeNames(context, clusters, toScreen, { width, height, ink, ground, taken, isShown }) {
  context.save();
  Object.assign(context, { font: FONT, textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 4, fillStyle: ink, strokeStyle: ground });
  const occupied = [...taken];
  const written = [];
  for (const cluster of clusters) {
    if (written.length === MAX_NAMES) break;
    if (!isShown(cluster)) continue;
    const [x, y] = toScreen(cluster.x, cluster.y);
    const text = shortened(cluster.label);
    const half = context.measureText(text).width / 2 + 6;
    const box = { left: x - half, right: x + half, top: y - HEIGHT / 2, bottom: y + HEIGHT / 2 };
    if (box.left < 0 || box.right > width || box.top < 0 || box.bottom > height) continue;
    if (occupied.some((other) => overlap(box, other))) continue;
    occupied.push(box);
    written.push(cluster.label);
    context.strokeText(text, x, y);
    context.fillText(text, x, y);
  }
  context.restore();
  return written;
}

/** Split points into groups whose cells of a grid touch each other. */
function groups(points, members, side) {
  const cells = new Map();
  for (const i of members) {
    const key = place(points.y[i], side) * side + place(points.x[i], side);
    (cells.get(key) ?? cells.set(key, []).get(key)).push(i);
  }
  const found = [];
  for (const start of [...cells.keys()]) {
    const group = [];
    const open = [start];
    while (open.length) {
      const key = open.pop();
      if (!cells.has(key)) continue;
      group.push(...cells.get(key));
      cells.delete(key);
      open.push(...neighbours(key, side));
    }
    if (group.length) found.push(group);
  }
  return found;
}

function neighbours(key, side) {
  const [row, column] = [Math.floor(key / side), key % side];
  const around = [];
  for (let down = Math.max(0, row - 1); down <= Math.min(side - 1, row + 1); down++) {
    for (let across = Math.max(0, column - 1); across <= Math.min(side - 1, column + 1); across++) around.push(down * side + across);
  }
  return around;
}

function place(position, side) {
  return Math.max(0, Math.min(side - 1, Math.floor(position * side)));
}

/** The place of the point of a group that is nearest to its mean. */
function middle({ x, y }, group) {
  const mean = (axis) => group.reduce((sum, i) => sum + axis[i], 0) / group.length;
  const [meanX, meanY] = [mean(x), mean(y)];
  const distance = (i) => Math.hypot(x[i] - meanX, y[i] - meanY);
  const nearest = group.reduce((best, i) => (distance(i) < distance(best) ? i : best));
  return { x: x[nearest], y: y[nearest] };
}

function shortened(text) {
  const letters = [...text];
  return letters.length > MAX_LETTERS ? `${letters.slice(0, MAX_LETTERS - 1).join("")}…` : text;
}

function overlap(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}
