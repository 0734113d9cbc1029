// The points of the map, with a spatial index.

const CELLS = 100; // per side; 20,000 points are two per cell

export class Points {
  /** Takes the columns of the API: x and y from 0 to 1, label as an index into `labels` or null. */
  constructor({ labels, points }) {
    Object.assign(this, { labels, ...points, count: points.id.length });
    this.cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let i = 0; i < this.count; i++) this.cells[cell(this.y[i]) * CELLS + cell(this.x[i])].push(i);
  }

  nameOf(point) {
    return this.labels[this.label[point]] ?? null;
  }

  /** The points within a rectangle. */
  within({ left, right, top, bottom }) {
    const found = [];
    for (let row = cell(top); row <= cell(bottom); row++) {
      for (let column = cell(left); column <= cell(right); column++) {
        for (const i of this.cells[row * CELLS + column]) {
          if (this.x[i] >= left && this.x[i] <= right && this.y[i] >= top && this.y[i] <= bottom) found.push(i);
        }
      }
    }
    return found;
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
}

function cell(position) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(position * CELLS)));
}

function least(candidates, measure) {
  let [best, smallest] = [null, Infinity];
  for (const candidate of candidates) {
    const value = measure(candidate);
    if (value < smallest) [best, smallest] = [candidate, value];
  }
  return best;
}
