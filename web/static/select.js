// Selects photos: by their check marks, by clicks while others are selected, and by a long press on touch screens.

import { lasso } from "./lasso.js";
import { extendTo, markCards, toggle } from "./marks.js";
import { selection, selectFor } from "./selection.js";
import { showBar } from "./selection-bar.js";
import { selectByKeys } from "./select-keys.js";

const LONG = 500; // milliseconds
const STILL = 10; // pixels that a finger may move meanwhile

export function selectPhotos({ onShow, visit }) {
  showBar({ visit });
  onShow((found) => {
    selectFor(location.href);
    markCards(found);
  });
  selectByLongPress();
  addEventListener("click", pick, true); // on the window: before the listener that opens the details
  selectByKeys();
  lasso();
}

/** The card in the results to which an element belongs. */
export function cardOf(element) {
  return element.closest?.(".neighbours .grid > li") ?? null;
}

/** A click on a check mark selects, and so does one on a photo while others are selected; keys still open the photo. */
function pick(event) {
  const card = cardOf(event.target);
  const onMark = event.target.closest?.(".pick");
  if (!card || !(onMark || (event.target.closest(".card") && event.detail > 0 && selects(event, card)))) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (event.shiftKey) extendTo(card);
  else toggle(card);
}

/** Shift-click marks an example in the results of a search, unless photos are selected. */
function selects(event, card) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  return selection().size > 0 || (event.shiftKey && !card.querySelector("[name=like]"));
}

function selectByLongPress() {
  let press = null; // where a finger touches a photo, until it moves or leaves
  let timer;
  let selected = false; // whether the click that follows belongs to a long press
  const end = () => {
    clearTimeout(timer);
    press = null;
  };

  document.addEventListener("pointerdown", (event) => {
    end();
    selected = false;
    const card = event.target.closest(".card") && cardOf(event.target);
    if (!card || event.pointerType !== "touch" || !event.isPrimary) return;
    press = event;
    timer = setTimeout(() => {
      selected = true;
      toggle(card);
    }, LONG);
  });
  document.addEventListener("pointermove", (event) => {
    if (press && Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) > STILL) end();
  });
  for (const last of ["pointerup", "pointercancel"]) document.addEventListener(last, end);
  // The browser's own menu of a long press would cover the photos.
  document.addEventListener("contextmenu", (event) => (press || selected) && cardOf(event.target) && event.preventDefault());
  addEventListener("click", (event) => {
    if (!selected) return;
    selected = false;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
}
