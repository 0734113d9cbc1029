// The check marks of photos, and ranges of photos.

import { main } from "./notices.js";
import { onSelect, select, selection } from "./selection.js";

let anchor = null; // the id of the photo from which a range extends
let end = null; // to which it extends
let added = []; // the photos that the range has added to the selection

/** The photos that are shown, in their order. */
export function shownCards() {
  return [...main().querySelectorAll(".neighbours .grid > li:not(.waiting)")].filter((card) => card.checkVisibility());
}

/** The photo of a card: its id and its path. */
export function photoOf(card) {
  return [card.querySelector(".card").pathname.split("/").at(-1), card.dataset.path];
}

export function isSelected(card) {
  return selection().has(photoOf(card)[0]);
}

/** Select a photo, or no longer; ranges extend from here. */
export function toggle(card) {
  const photo = photoOf(card);
  [anchor, end, added] = [photo[0], photo[0], []];
  select([photo], !isSelected(card));
}

/** Select all photos from the last one that was chosen to this one, in place of the last range. */
export function extendTo(card) {
  const ids = shownCards().map(photoOf);
  const places = [anchor, photoOf(card)[0]].map((id) => ids.findIndex(([other]) => other === id));
  if (places[0] < 0) return isSelected(card) || toggle(card);
  const range = ids.slice(Math.min(...places), Math.max(...places) + 1);
  const outside = added.filter(([id]) => !range.some(([other]) => other === id));
  const fresh = range.filter(([id]) => !selection().has(id));
  added = [...added.filter((photo) => !outside.includes(photo)), ...fresh];
  end = photoOf(card)[0];
  select(outside, false);
  select(fresh);
}

/** Start a range at a photo, unless it is the end of one. */
export function startAt(card) {
  if (photoOf(card)[0] === end && isSelected(card)) return;
  if (isSelected(card)) [anchor, end, added] = [photoOf(card)[0], photoOf(card)[0], []];
  else toggle(card);
}

/** Add a check mark to each photo, and to those that are added later. */
export function markCards(found) {
  const results = found.querySelector(".neighbours");
  if (!results) return;
  new MutationObserver(update).observe(results, { childList: true, subtree: true });
  update();
}

onSelect(update);

function update() {
  for (const card of main().querySelectorAll(".neighbours .grid > li")) {
    const mark = card.querySelector(".pick") ?? newMark(card);
    const state = String(isSelected(card));
    if (mark.ariaPressed !== state) mark.ariaPressed = state;
    card.classList.toggle("selected", isSelected(card));
  }
  main().classList.toggle("selecting", selection().size > 0);
}

function newMark(card) {
  const mark = Object.assign(document.createElement("button"), { className: "pick", type: "button", ariaLabel: `Select ${card.dataset.path}`, ariaPressed: "false" });
  mark.innerHTML = '<svg class="icon" aria-hidden="true"><use href="#check"/></svg>';
  card.querySelector(".card").after(mark);
  return mark;
}

/** Show another label below photos. */
export function relabel(ids, label) {
  for (const card of cardsOf(ids)) {
    const caption = card.querySelector(".caption .label");
    if (caption) caption.textContent = label;
  }
}

export function removeCards(ids) {
  cardsOf(ids).forEach((card) => card.remove());
}

function cardsOf(ids) {
  const wanted = new Set(ids);
  return [...main().querySelectorAll(".neighbours .grid > li")].filter((card) => wanted.has(photoOf(card)[0]));
}
