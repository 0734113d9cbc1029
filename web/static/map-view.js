// Draws the points on a canvas through a camera: as marks, or as photos if few are visible; with the names of clusters.

import { Camera } from "./map-camera.js";
import { Dots, packed } from "./map-dots.js";
import { SHAPES } from "./map-marks.js";
import { clustersOf, writeNames } from "./map-names.js";

const MAX_PHOTOS = 90; // visible at once; more are drawn as marks
const PHOTO_SIDE = 76;
const MAX_CACHED = 400;
const DIMMED = 0.1;

export class View {
  /** marksOf(isDark): the colour and shape of each mark; thumbnail(i): the address of a photo; covers: the elements that cover the canvas, first the legend. */
  constructor(canvas, points, { marksOf, thumbnail, covers }) {
    Object.assign(this, { canvas, points, marksOf, thumbnail, covers });
    this.context = canvas.getContext("2d");
    this.camera = new Camera(points, PHOTO_SIDE);
    this.camera.onMove = () => this.redraw();
    this.clusters = clustersOf(points);
    this.names = []; // that are written
    this.selected = null;
    this.lit = new Set(); // highlighted marks; empty: all
    this.photos = new Map();
    this.onRecolour = () => {};
    this.followers = [];
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
    this.taken = [...this.covers].map((cover) => boxOf(cover, this.canvas));
    this.camera.resize(this.width, this.height, this.free());
    this.draw();
  }

  /** The edges of the part of the canvas that is not covered by the legend, beside or below it, or by what is above it. */
  free() {
    const free = { left: 0, top: 0, right: this.width, bottom: this.height };
    const [legend, ...others] = this.taken;
    if (legend.right - legend.left < this.width / 2) free.left = legend.right;
    else free.bottom = legend.top;
    free.top = Math.max(0, ...others.filter(({ top }) => top < this.height / 4).map(({ bottom }) => bottom));
    return free;
  }

  recolour() {
    this.marks = this.marksOf(matchMedia("(prefers-color-scheme: dark)").matches);
    this.shades = this.marks.map(({ colour }) => packed(colour));
    const style = getComputedStyle(this.canvas);
    [this.ink, this.ground] = [style.color, style.backgroundColor];
    this.onRecolour();
    this.redraw();
  }

  /** Draw once before the next frame, however often it is called. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = undefined;
    const { context, ratio, camera } = this;
    if (!ratio) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const seen = this.points.within(camera.window(PHOTO_SIDE / 2));
    this.isNear = seen.length <= MAX_PHOTOS && camera.zoom > 1;
    if (this.isNear) this.drawPhotos(seen);
    else this.drawMarks(seen);
    if (this.selected !== null) this.drawRing(this.selected);
    this.names = writeNames(context, this.clusters, (x, y) => camera.toScreen(x, y), { ...this, isShown: ({ mark }) => this.isLit(mark) });
    this.followers.forEach((follower) => follower());
  }

  /** Call a function after each drawing. */
  afterDraw(follower) {
    this.followers.push(follower);
  }

  drawMarks(seen) {
    const { points, camera, ratio } = this;
    const crowd = Math.max(0.6, Math.min(1, 60 / Math.sqrt(points.count)));
    const radius = Math.min(6, 3.2 * Math.sqrt(camera.zoom) * crowd) * ratio;
    const places = new Float32Array(2 * seen.length);
    seen.forEach((i, at) => places.set(this.toScreen(i).map((place) => place * ratio), 2 * at));
    const colours = Uint32Array.from(seen, (i) => this.shades[points.mark[i]]);
    const shapes = Uint8Array.from(seen, (i) => this.marks[points.mark[i]].shape);
    const opacity = Float32Array.from(seen, (i) => (this.isLit(points.mark[i]) ? 0.92 : DIMMED));
    this.dots.paint(places, radius, colours, shapes, opacity);
  }

  drawPhotos(seen) {
    const { context } = this;
    for (const i of seen) {
      const image = this.imageOf(i);
      const [x, y] = this.toScreen(i);
      context.globalAlpha = this.isLit(this.points.mark[i]) ? 1 : DIMMED;
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
    const { context } = this;
    const { colour, shape } = this.marks[this.points.mark[i]];
    context.save();
    context.translate(x, y);
    context.scale(6, 6);
    context.fillStyle = colour;
    context.fill(new Path2D(SHAPES[shape]));
    context.restore();
  }

  drawRing(i) {
    const [x, y] = this.toScreen(i);
    this.context.strokeStyle = this.ink;
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
    image.src = this.thumbnail(i);
    this.photos.set(i, image);
    return image;
  }

  isLit(mark) {
    return !this.lit.size || this.lit.has(mark);
  }

  /** Highlight a mark, or no longer; returns whether it is highlighted. */
  highlight(mark) {
    const isLit = !this.lit.delete(mark);
    if (isLit) this.lit.add(mark);
    this.redraw();
    return isLit;
  }

  toScreen(i) {
    return this.camera.toScreen(this.points.x[i], this.points.y[i]);
  }

  /** The point at a position on the screen, or null. */
  at(x, y, reach = 14) {
    return this.points.nearest(...this.camera.toMap(x, y), (this.isNear ? PHOTO_SIDE / 2 : reach) / this.camera.scale);
  }

  select(i) {
    this.selected = i;
    this.redraw();
  }
}

/** The rectangle of an element in pixels of the canvas. */
function boxOf(element, canvas) {
  const [box, origin] = [element.getBoundingClientRect(), canvas.getBoundingClientRect()];
  return { left: box.left - origin.left, right: box.right - origin.left, top: box.top - origin.top, bottom: box.bottom - origin.top };
}
