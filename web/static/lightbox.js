// Shows the details of a photo over the results instead of on a separate page. Open details are a history entry, so
// that Back closes them; arrow keys and swipes show the previous and the next photo of the page.

import { explanation } from "./explain.js";
import { main } from "./notices.js";

const SWIPE = 48; // pixels
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export function openDetails({ load, onShow, onReturn }) {
  const box = document.querySelector(".lightbox");
  const [previous, next] = box.querySelectorAll("[data-step]");
  let current = null; // the link of the photo that is shown, or was last
  let loading = null; // the link of the photo whose details are being loaded
  let left = false; // whether the details are closed because their history entry was left

  function links() {
    return [...main().querySelectorAll("[data-details]")].filter((link) => link === current || link.checkVisibility());
  }

  /** Show the details of a link; returns false if they can't be loaded, or were closed or others opened meanwhile. */
  async function show(link) {
    loading = link;
    const page = await load(link.href, { aside: true });
    if (!page || loading !== link) return false;
    [current, loading] = [link, null];
    const hadFocus = box.querySelector(".photo")?.contains(document.activeElement);
    box.querySelector(".photo")?.remove();
    box.append(detailsOf(page.found, link.closest("li")));
    mark();
    if (!box.open) box.showModal();
    else if (hadFocus) box.querySelector("[autofocus]").focus();
    box.scrollTop = 0; // the focus has scrolled to the button below the photo
    link.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** Update the buttons for the previous and the next photo. */
  function mark() {
    const all = links();
    const at = all.indexOf(current);
    box.querySelector(".place").textContent = `${at + 1} of ${all.length}`;
    [previous.disabled, next.disabled] = [at <= 0, at === all.length - 1];
  }

  async function open(link) {
    if (!box.open && history.state?.details) await nextEntry(); // closing the last details goes back, which takes a moment
    if (await show(link)) history.pushState({ ...history.state, details: link.pathname }, "");
  }

  async function step(by) {
    const all = links();
    const link = all[all.indexOf(current) + by];
    if (link && (await show(link))) history.replaceState({ ...history.state, details: link.pathname }, "");
  }

  /** Open or close the details as the history entry says. */
  function follow() {
    const path = history.state?.details;
    const link = path && [...main().querySelectorAll("[data-details]")].find((one) => one.pathname === path);
    if (link) return show(link);
    if (path) history.replaceState({ ...history.state, details: undefined }, "");
    loading = null;
    left = box.open;
    box.close();
  }

  onShow(follow);
  onReturn(follow);

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-details]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    open(link);
  }, true);

  box.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-step]");
    if (button) step(Number(button.dataset.step));
    else if (target === box || target.closest(".close")) box.close();
  });

  box.addEventListener("close", () => {
    if (history.state?.details && !left) history.back();
    left = false;
    if (current?.isConnected) current.focus({ preventScroll: true });
  });

  box.addEventListener("keydown", (event) => {
    if (STEPS[event.key] && !event.target.matches("input") && !event.altKey && !event.ctrlKey && !event.metaKey) step(STEPS[event.key]);
  });

  let from = null;
  box.addEventListener("pointerdown", (event) => (from = event.pointerType === "touch" && event.isPrimary ? event : null));
  box.addEventListener("pointerup", (event) => {
    const [right, down] = from ? [event.clientX - from.clientX, event.clientY - from.clientY] : [0, 0];
    if (Math.abs(right) > SWIPE && Math.abs(right) > 2 * Math.abs(down)) step(right < 0 ? 1 : -1);
    from = null;
  });
}

/** The details of a page of a photo; for a result, with its scores, the buttons of its card, and an explanation. */
function detailsOf(page, card) {
  const photo = document.adoptNode(page.querySelector(".photo"));
  photo.querySelector(".actions a").autofocus = true;
  if (!card.dataset.similarity) return photo;
  photo.querySelector("dl").prepend(...comparison(card));
  photo.querySelector(".actions").append(...exampleButtons(card), ...explanation(photo, card.querySelector("[name=like]").value));
  return photo;
}

/** Similarity, that of each part, and distance, from the photo's card. */
function comparison(card) {
  const { similarity, kind, look, distance } = card.dataset;
  const facts = [["Similarity", similarity], ["Same kind", kind], ["Same look", look], ["Distance", distance]];
  return facts.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
}

/** The buttons of the card, with text. */
function exampleButtons(card) {
  return [...card.querySelectorAll(".tools button")].map((button) => {
    const mark = button.cloneNode(true);
    mark.className = "button quiet";
    mark.removeAttribute("aria-label");
    mark.append(button.name === "like" ? "More like this" : "Less like this");
    return mark;
  });
}

/** Resolves when the user has gone back or forth, after the listeners that follow the history. */
function nextEntry() {
  return new Promise((resolve) => addEventListener("popstate", resolve, { once: true }));
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
