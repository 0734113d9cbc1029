// Selects the photos in a rectangle that is drawn with the mouse, from a point between the photos.

import { photoOf, shownCards } from "./marks.js";
import { main } from "./notices.js";
import { select, selection } from "./selection.js";

const START = 6; // pixels after which a drag draws
const EDGE = 40; // pixels from the edge of the window in which it scrolls
const SPEED = 12; // pixels that it scrolls with each movement
const BUSY = ".query, .grid > li, a, button, input, select, summary, label, p, h1, h2"; // what does something else

export function lasso() {
  let drag = null;

  document.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button || event.target.closest(BUSY) || !event.target.closest(".found")) return;
    drag = { from: inPage(event), before: new Map(selection()), box: null };
  });

  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    const to = inPage(event);
    if (!drag.box && Math.hypot(to.x - drag.from.x, to.y - drag.from.y) < START) return;
    drag.box ??= newBox();
    scrollAtEdge(event.clientY);
    const area = draw(drag.box, drag.from, inPage(event));
    choose(drag.before, shownCards().filter((card) => overlaps(card, area)).map(photoOf));
  });

  const end = () => {
    drag?.box?.remove();
    drag = null;
  };
  for (const last of ["pointerup", "pointercancel"]) document.addEventListener(last, end);
  // The text between the photos is not selected meanwhile.
  document.addEventListener("selectstart", (event) => drag && event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drag) return;
    event.preventDefault();
    choose(drag.before, []);
    end();
  }, true);
}

/** Select photos beside those that were selected before, and no others. */
function choose(before, photos) {
  const wanted = new Map([...before, ...photos]);
  const gone = [...selection()].filter(([id]) => !wanted.has(id));
  if (gone.length || wanted.size !== selection().size) {
    select(gone, false);
    select([...wanted]);
  }
}

function inPage({ clientX, clientY }) {
  return { x: clientX + scrollX, y: clientY + scrollY };
}

function newBox() {
  const box = Object.assign(document.createElement("div"), { className: "lasso" });
  main().append(box);
  return box;
}

/** Draw the rectangle between two points of the page; returns it. */
function draw(box, from, to) {
  const area = new DOMRect(Math.min(from.x, to.x), Math.min(from.y, to.y), Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  Object.assign(box.style, { left: `${area.x}px`, top: `${area.y}px`, width: `${area.width}px`, height: `${area.height}px` });
  return area;
}

function overlaps(card, area) {
  const photo = card.getBoundingClientRect();
  const [left, top] = [photo.left + scrollX, photo.top + scrollY];
  return left < area.right && left + photo.width > area.left && top < area.bottom && top + photo.height > area.top;
}

function scrollAtEdge(y) {
  if (y < EDGE) scrollBy(0, -SPEED);
  else if (y > innerHeight - EDGE) scrollBy(0, SPEED);
}
