// The points of the map, with a spatial index.

const CELLS = 100; // per side; 20,000 points are two per cell
const NEIGHBOURS = 9; // whose median is the place of another photo
const SAMPLE = 500; // points to measure the spacing of

export class Points {
  /** Takes the columns of the API: x and y from 0 to 1, label as an index into `labels` or null. */
  constructor({ labels, points }) {
    Object.assign(this, { labels, ...points, count: points.id.length });
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let i = 0; i < this.count; i++) this.cells[cell(this.y[i]) * CELLS + cell(this.x[i])].push(i);
    this.spacing = this.measureSpacing();
  }

  nameOf(point) {
    return this.labels[this.label[point]] ?? null;
  }

  /** The points within a rectangle. */
  within(box) {
    const found = [];
    this.visit(box, (i) => found.push(i) && false);
    return found;
  }

  /** Whether there is a point within a rectangle. */
  any(box) {
    return this.visit(box, () => true);
  }

  /** Call a function with each point within a rectangle until it returns true; returns whether it did. */
  visit({ left, right, top, bottom }, isEnough) {
    for (let row = cell(top); row <= cell(bottom); row++) {
      for (let column = cell(left); column <= cell(right); column++) {
        for (const i of this.cells[row * CELLS + column]) {
          if (this.x[i] >= left && this.x[i] <= right && this.y[i] >= top && this.y[i] <= bottom && isEnough(i)) return true;
        }
      }
    }
    return false;
  }

  /** The point nearest to (x, y) within the distance `reach`, or null. */
  nearest(x, y, reach) {
    const around = this.within({ left: x - reach, right: x + reach, top: y - reach, bottom: y + reach });
    return least(around, (i) => {
      const distance = Math.hypot(this.x[i] - x, this.y[i] - y);
      return distance <= reach ? distance : Infinity;
    });
  }

  /** The point next to another in a direction, [±1, 0] or [0, ±1], or null at the edge. */
  next(from, [right, down]) {
    const all = Array.from({ length: this.count }, (_, i) => i);
    return least(all, (i) => {
      const [dx, dy] = [this.x[i] - this.x[from], this.y[i] - this.y[from]];
      const ahead = dx * right + dy * down;
      const aside = Math.abs(dx * down) + Math.abs(dy * right);
      return ahead > 0 && aside <= ahead ? ahead + 2 * aside : Infinity;
    });
  }

  /** The place of a photo: its own or, if it is no point, the median of those of its nearest photos; null if none is a point. */
  placeOf(id, nearest) {
    const places = new Map(this.id.map((one, i) => [one, i]));
    const found = (places.has(id) ? [id] : nearest.filter((one) => places.has(one)).slice(0, NEIGHBOURS)).map((one) => places.get(one));
    return found.length ? [this.x, this.y].map((axis) => median(found.map((i) => axis[i]))) : null;
  }

  /** The distance of a point to its nearest neighbour: the lower decile. */
  measureSpacing() {
    const step = Math.max(1, Math.floor(this.count / SAMPLE));
    const found = [];
    for (let i = 0; i < this.count; i += step) found.push(this.distanceToNext(i));
    return found.sort((one, other) => one - other)[Math.floor(found.length / 10)];
  }

  distanceToNext(from) {
    const [x, y] = [this.x[from], this.y[from]];
    for (let reach = 1 / CELLS; reach < 2; reach *= 4) {
      const around = this.within({ left: x - reach, right: x + reach, top: y - reach, bottom: y + reach });
      const next = Math.min(...around.map((i) => Math.hypot(this.x[i] - x, this.y[i] - y) || Infinity));
      if (next <= reach) return next;
    }
    return 1;
  }
}

function cell(position) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(position * CELLS)));
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

function least(candidates, measure) {
  let [best, smallest] = [null, Infinity];
  for (const candidate of candidates) {
    const value = measure(candidate);
    if (value < smallest) [best, smallest] = [candidate, value];
  }
  return best;
}
