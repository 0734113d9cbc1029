// Selects photos by keyboard: Space, Shift with an arrow key, Ctrl+A or Cmd+A, and Escape.

import { extendTo, photoOf, shownCards, startAt, toggle } from "./marks.js";
import { clearSelection, select, selection } from "./selection.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
const ROWS = { ArrowUp: -1, ArrowDown: 1 };

export function selectByKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || isElsewhere(event.target)) return;
    const card = event.target.closest(".card")?.parentElement;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key.toLowerCase() === "a" && shownCards().length) select(shownCards().map(photoOf));
    else if (event.key === "Escape" && selection().size) clearSelection();
    else if (!card || isCommand) return;
    else if (event.key === " ") toggle(card);
    else if (event.shiftKey && (STEPS[event.key] || ROWS[event.key])) extend(card, event.key);
    else return;
    event.preventDefault();
  });
}

/** Whether keys belong to a field, or to a dialog or panel over the page. */
function isElsewhere(target) {
  const field = "input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]";
  return target.closest(field) || document.querySelector("dialog[open], :popover-open");
}

/** Extend the range to the next photo in a direction, and move the focus there. */
function extend(card, key) {
  startAt(card);
  const cards = shownCards();
  const next = STEPS[key] ? cards[cards.indexOf(card) + STEPS[key]] : nearest(card, cards, ROWS[key]);
  if (!next) return;
  extendTo(next);
  next.querySelector(".card").focus();
}

/** The photo above or below a photo, in the nearest row. */
function nearest(card, cards, direction) {
  const { top, left, width } = card.getBoundingClientRect();
  const beyond = cards.map((other) => [other, other.getBoundingClientRect()]).filter(([, box]) => direction * (box.top - top) > 1);
  const row = Math.min(...beyond.map(([, box]) => Math.abs(box.top - top)));
  const distance = ([, box]) => Math.abs(box.left + box.width / 2 - left - width / 2);
  const [best] = beyond.filter(([, box]) => Math.abs(box.top - top) < row + 1).sort((one, other) => distance(one) - distance(other));
  return best?.[0];
}
