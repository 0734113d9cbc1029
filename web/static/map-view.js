// Draws the points on a canvas through a camera: as dots, or as photos if few are visible.

import { Dots, packed } from "./map-dots.js";

const FILL = 0.94; // fraction of the canvas that the whole map takes
const MAX_ZOOM = 200;
const MAX_PHOTOS = 90; // visible at once; more are drawn as dots
const PHOTO_SIDE = 76;
const MAX_CACHED = 400;
const DIMMED = 0.1;

export class View {
  constructor(canvas, points, { colours, photo }) {
    Object.assign(this, { canvas, points, colours, photo });
    this.context = canvas.getContext("2d");
    this.camera = { x: 0.5, y: 0.5, zoom: 1 };
    this.selected = null;
    this.lit = new Set(); // highlighted labels; empty: all
    this.photos = new Map();
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    this.recolour();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = devicePixelRatio;
    [this.canvas.width, this.canvas.height] = [clientWidth * this.ratio, clientHeight * this.ratio];
    [this.width, this.height] = [clientWidth, clientHeight];
    this.dots = new Dots(this.context);
    this.draw();
  }

  recolour() {
    this.shades = this.colours();
    this.packed = this.shades.map(packed);
    this.line = getComputedStyle(this.canvas).color;
    this.redraw();
  }

  /** Draw once before the next frame, however often it is called. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    const { context, ratio } = this;
    if (!ratio) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const seen = this.points.within(this.window());
    this.isNear = seen.length <= MAX_PHOTOS && this.camera.zoom > 1;
    if (this.isNear) this.drawPhotos(seen);
    else this.drawDots(seen);
    if (this.selected !== null) this.drawRing(this.selected);
  }

  drawDots(seen) {
    const { points, camera, scale, ratio } = this;
    const crowd = Math.max(0.6, Math.min(1, 60 / Math.sqrt(points.count)));
    const radius = Math.min(6, 3 * Math.sqrt(camera.zoom) * crowd) * ratio;
    const places = new Float32Array(2 * seen.length);
    const [left, top] = [this.width / 2 - camera.x * scale, this.height / 2 - camera.y * scale];
    seen.forEach((i, at) => {
      places[2 * at] = (left + points.x[i] * scale) * ratio;
      places[2 * at + 1] = (top + points.y[i] * scale) * ratio;
    });
    const colours = Uint32Array.from(seen, (i) => this.packed[points.colour[i]]);
    const opacity = Float32Array.from(seen, (i) => (this.isLit(i) ? 0.92 : DIMMED));
    this.dots.paint(places, radius, colours, opacity);
  }

  drawPhotos(seen) {
    const { context } = this;
    for (const i of seen) {
      const image = this.imageOf(i);
      const [x, y] = this.toScreen(i);
      context.globalAlpha = this.isLit(i) ? 1 : DIMMED;
      if (!image.naturalWidth) {
        this.drawMark(i, x, y);
        continue;
      }
      const scale = PHOTO_SIDE / Math.max(image.naturalWidth, image.naturalHeight);
      const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
      context.drawImage(image, x - width / 2, y - height / 2, width, height);
      this.drawMark(i, x - width / 2, y - height / 2);
    }
    context.globalAlpha = 1;
  }

  drawMark(i, x, y) {
    this.context.fillStyle = this.shades[this.points.colour[i]];
    this.context.beginPath();
    this.context.arc(x, y, 6, 0, 2 * Math.PI);
    this.context.fill();
  }

  drawRing(i) {
    const [x, y] = this.toScreen(i);
    this.context.strokeStyle = this.line;
    this.context.lineWidth = 2.5;
    this.context.beginPath();
    this.context.arc(x, y, 11, 0, 2 * Math.PI);
    this.context.stroke();
  }

  imageOf(i) {
    const known = this.photos.get(i);
    if (known) return known;
    if (this.photos.size >= MAX_CACHED) this.photos.delete(this.photos.keys().next().value);
    const image = new Image();
    image.onload = () => this.redraw();
    image.src = this.photo(i);
    this.photos.set(i, image);
    return image;
  }

  isLit(i) {
    return !this.lit.size || this.lit.has(this.points.colour[i]);
  }

  /** Side of the whole map in pixels. */
  get scale() {
    return Math.min(this.width, this.height) * FILL * this.camera.zoom;
  }

  toScreen(i) {
    return [
      this.width / 2 + (this.points.x[i] - this.camera.x) * this.scale,
      this.height / 2 + (this.points.y[i] - this.camera.y) * this.scale,
    ];
  }

  toMap(x, y) {
    return [this.camera.x + (x - this.width / 2) / this.scale, this.camera.y + (y - this.height / 2) / this.scale];
  }

  /** The visible part of the map, enlarged by half a photo on each side. */
  window() {
    const [left, top] = this.toMap(-PHOTO_SIDE / 2, -PHOTO_SIDE / 2);
    const [right, bottom] = this.toMap(this.width + PHOTO_SIDE / 2, this.height + PHOTO_SIDE / 2);
    return { left, top, right, bottom };
  }

  /** The point at a position on the screen, or null. */
  at(x, y, reach = 14) {
    if (this.isNear) reach = PHOTO_SIDE / 2;
    return this.points.nearest(...this.toMap(x, y), reach / this.scale);
  }

  pan(right, down) {
    this.look(this.camera.x - right / this.scale, this.camera.y - down / this.scale);
  }

  /** Zoom by a factor around the position (x, y) on the screen. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const [mapX, mapY] = this.toMap(x, y);
    this.camera.zoom = Math.max(1, Math.min(MAX_ZOOM, this.camera.zoom * factor));
    this.look(mapX - (x - this.width / 2) / this.scale, mapY - (y - this.height / 2) / this.scale);
  }

  look(x, y) {
    this.camera.x = Math.max(0, Math.min(1, x));
    this.camera.y = Math.max(0, Math.min(1, y));
    this.redraw();
  }

  whole() {
    this.camera.zoom = 1;
    this.look(0.5, 0.5);
  }

  select(i) {
    this.selected = i;
    this.redraw();
  }

  /** Pan so that a point is visible. */
  reveal(i) {
    const [x, y] = this.toScreen(i);
    const edge = 90;
    const over = (at, size) => Math.max(0, at - size + edge) - Math.max(0, edge - at);
    this.pan(-over(x, this.width), -over(y, this.height));
  }
}
