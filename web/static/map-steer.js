// Controls the map: wheel, drag, pinch and keyboard.

const CLICK_TOLERANCE = 5; // pixels
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 80; // pixels
const FACTOR = 1.5;

/** show(point): preview a point; hide(): hide the preview; open(point): search from it. */
export function steer(view, { show, hide, open }) {
  const { canvas } = view;
  const down = new Map(); // active pointers
  let travelled = 0;

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), event.offsetX, event.offsetY);
    hide();
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, event);
    if (down.size === 1) travelled = 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return hover(event);
    const others = [...down.values()].filter((other) => other !== before);
    if (others.length) pinch(before, event, others[0]);
    else view.pan(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
    travelled += Math.hypot(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
    down.set(event.pointerId, event);
    if (travelled > CLICK_TOLERANCE) hide();
  });

  canvas.addEventListener("pointerup", (event) => {
    const alone = down.size === 1;
    down.delete(event.pointerId);
    if (!alone || travelled > CLICK_TOLERANCE) return;
    const point = view.at(event.offsetX, event.offsetY, event.pointerType === "mouse" ? 14 : 24);
    if (point === null) hide();
    else if (event.pointerType === "mouse" || point === view.selected) open(point);
    else show(point); // on touch, the first tap previews and the second one opens
  });
  canvas.addEventListener("pointercancel", ({ pointerId }) => down.delete(pointerId));
  canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && hide());

  canvas.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || !press(event)) return;
    event.preventDefault();
  });

  function hover(event) {
    const point = event.pointerType === "mouse" ? view.at(event.offsetX, event.offsetY) : view.selected;
    if (point === null) hide();
    else if (point !== view.selected) show(point);
  }

  function pinch(before, now, other) {
    const apart = (one) => Math.hypot(one.offsetX - other.offsetX, one.offsetY - other.offsetY);
    view.zoom(apart(now) / Math.max(1, apart(before)), (now.offsetX + other.offsetX) / 2, (now.offsetY + other.offsetY) / 2);
    view.pan((now.offsetX - before.offsetX) / 2, (now.offsetY - before.offsetY) / 2);
  }

  function press({ key, shiftKey }) {
    const arrow = ARROWS[key];
    if (arrow && shiftKey) view.pan(-STEP * arrow[0], -STEP * arrow[1]);
    else if (arrow) walk(arrow);
    else if (key === "+" || key === "=") zoom(FACTOR);
    else if (key === "-") zoom(1 / FACTOR);
    else if (key === "0") view.whole();
    else if (key === "Enter" && view.selected !== null) open(view.selected);
    else if (key === "Escape" && view.selected !== null) hide();
    else return false;
    return true;
  }

  function walk(arrow) {
    const { selected, points } = view;
    const next = selected === null ? points.nearest(view.camera.x, view.camera.y, 2) : points.next(selected, arrow);
    if (next === null) return;
    view.reveal(next);
    show(next);
  }

  function zoom(factor) {
    const place = view.selected === null ? [] : view.toScreen(view.selected);
    view.zoom(factor, ...place);
    if (view.selected !== null) show(view.selected);
  }
}
