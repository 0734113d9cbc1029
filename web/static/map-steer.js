// Controls the map: wheel, drag, pinch, tap and keyboard.

const CLICK_TOLERANCE = 5; // pixels
const REACH = { mouse: 14, other: 24 }; // pixels
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 80; // pixels
const FACTOR = 1.5;

/** show(point): preview a point; hide(): hide the preview; open(point): open its photo. */
export function steer(view, { show, hide, open }) {
  const { canvas, camera } = view;
  const down = new Map(); // active pointers
  let travelled = 0;
  let fingers = 0; // pointers of this gesture, including those that are no longer down
  let isMouse = true;

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), [event.offsetX, event.offsetY]);
    hide();
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    if (!down.size) [travelled, fingers] = [0, 0];
    down.set(event.pointerId, event);
    fingers += 1;
    isMouse = event.pointerType === "mouse";
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return event.pointerType === "mouse" && hover(event);
    const others = [...down.values()].filter((other) => other !== before);
    if (others.length) pinch(before, event, others[0]);
    else camera.pan(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
    travelled += Math.hypot(event.offsetX - before.offsetX, event.offsetY - before.offsetY);
    down.set(event.pointerId, event);
    if (travelled > CLICK_TOLERANCE) hide();
  });

  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, ({ pointerId }) => down.delete(pointerId));
  canvas.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && hide());

  // Not at "pointerup", after which a preview that appears below the finger would be clicked.
  canvas.addEventListener("click", (event) => {
    if (travelled > CLICK_TOLERANCE || fingers > 1) return;
    const point = view.at(event.offsetX, event.offsetY, isMouse ? REACH.mouse : REACH.other);
    if (point === null) hide();
    else if (isMouse || point === view.selected) open(point);
    else show(point); // the first tap shows the photo, and the second opens it
  });

  canvas.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey || !press(event)) return;
    event.preventDefault();
  });

  function hover(event) {
    const point = view.at(event.offsetX, event.offsetY);
    if (point === null) hide();
    else if (point !== view.selected) show(point);
  }

  function pinch(before, now, other) {
    const apart = (one) => Math.hypot(one.offsetX - other.offsetX, one.offsetY - other.offsetY);
    camera.zoomBy(apart(now) / Math.max(1, apart(before)), [(now.offsetX + other.offsetX) / 2, (now.offsetY + other.offsetY) / 2]);
    camera.pan((now.offsetX - before.offsetX) / 2, (now.offsetY - before.offsetY) / 2);
  }

  function press({ key, shiftKey }) {
    const arrow = ARROWS[key];
    if (arrow && shiftKey) camera.pan(-STEP * arrow[0], -STEP * arrow[1]);
    else if (arrow) walk(arrow);
    else if (key === "+" || key === "=") zoom(FACTOR);
    else if (key === "-") zoom(1 / FACTOR);
    else if (key === "0") camera.whole();
    else if (key === "Enter" && view.selected !== null) open(view.selected);
    else if (key === "Escape" && view.selected !== null) hide();
    else return false;
    return true;
  }

  function walk(arrow) {
    const { selected, points } = view;
    const next = selected === null ? points.nearest(camera.x, camera.y, 2) : points.next(selected, arrow);
    if (next === null) return;
    camera.reveal(next);
    show(next);
  }

  function zoom(factor) {
    camera.zoomBy(factor, view.selected === null ? undefined : view.toScreen(view.selected));
  }
}
