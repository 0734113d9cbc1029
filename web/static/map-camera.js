// The part of the map that is visible. Points are always in sight: it cannot be moved or zoomed to where there are none.

const FILL = 0.94; // fraction of the free part of the canvas that the whole map takes
const MARGIN = 24; // pixels between the edge and a point that is in sight
const EDGE = 90; // pixels between the edge and a point that is revealed
const LEAST_MAX_ZOOM = 4;
const MOST_MAX_ZOOM = 200;

export class Camera {
  /** apart: pixels that neighbouring points are apart at the largest zoom. */
  constructor(points, apart) {
    Object.assign(this, { points, apart, x: 0.5, y: 0.5, zoom: 1, onMove: () => {} });
  }

  /** Set the size of the canvas in pixels, and the edges of the part of it that nothing covers. */
  resize(width, height, free) {
    Object.assign(this, { width, height, free });
    this.side = Math.max(1, Math.min(free.right - free.left, free.bottom - free.top) * FILL);
    this.maxZoom = Math.max(LEAST_MAX_ZOOM, Math.min(MOST_MAX_ZOOM, this.apart / (this.points.spacing * this.side)));
    this.moveTo(this.x, this.y);
  }

  /** Side of the whole map in pixels. */
  get scale() {
    return this.side * this.zoom;
  }

  /** The centre of the free part of the canvas. */
  get centre() {
    return [(this.free.left + this.free.right) / 2, (this.free.top + this.free.bottom) / 2];
  }

  toScreen(x, y) {
    const [across, down] = this.centre;
    return [across + (x - this.x) * this.scale, down + (y - this.y) * this.scale];
  }

  toMap(x, y) {
    const [across, down] = this.centre;
    return [this.x + (x - across) / this.scale, this.y + (y - down) / this.scale];
  }

  /** The visible part of the map, enlarged by some pixels on each side. */
  window(by = 0) {
    const [left, top] = this.toMap(-by, -by);
    const [right, bottom] = this.toMap(this.width + by, this.height + by);
    return { left, top, right, bottom };
  }

  pan(right, down) {
    this.moveTo(this.x - right / this.scale, this.y - down / this.scale);
  }

  /** Zoom by a factor around a position on the screen. */
  zoomBy(factor, [x, y] = this.centre) {
    const [mapX, mapY] = this.toMap(x, y);
    const [across, down] = this.centre;
    this.zoom = Math.max(1, Math.min(this.maxZoom, this.zoom * factor));
    this.moveTo(mapX - (x - across) / this.scale, mapY - (y - down) / this.scale);
  }

  whole() {
    this.zoom = 1;
    this.moveTo(0.5, 0.5);
  }

  /** Show a place in the middle. */
  show({ x, y, zoom }) {
    this.zoom = Math.max(1, Math.min(this.maxZoom, zoom));
    this.moveTo(x, y);
  }

  /** Move as little as needed so that a point is well in sight. */
  reveal(i, edge = EDGE) {
    const [x, y] = this.toScreen(this.points.x[i], this.points.y[i]);
    const over = (at, low, high) => {
      const inset = Math.min(edge, (high - low) / 3);
      return Math.max(0, at - high + inset) - Math.max(0, low + inset - at);
    };
    this.x += over(x, this.free.left, this.free.right) / this.scale;
    this.y += over(y, this.free.top, this.free.bottom) / this.scale;
    this.onMove();
  }

  moveTo(x, y) {
    const reach = (1 - 1 / this.zoom ** 2) / 2; // at zoom 1, the map stays in the middle
    this.x = Math.max(0.5 - reach, Math.min(0.5 + reach, x));
    this.y = Math.max(0.5 - reach, Math.min(0.5 + reach, y));
    if (this.isEmpty()) this.reveal(this.points.nearest(this.x, this.y, 2), MARGIN);
    this.onMove();
  }

  isEmpty() {
    const [left, top] = this.toMap(this.free.left + MARGIN, this.free.top + MARGIN);
    const [right, bottom] = this.toMap(this.free.right - MARGIN, this.free.bottom - MARGIN);
    return !this.points.any({ left, top, right, bottom });
  }
}
