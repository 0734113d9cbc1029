// Loads further results when the user scrolls towards them or presses "Show more".

import { main } from "./notices.js";

const AHEAD = "600px"; // below the viewport

export function loadMore({ onShow, load, scrolledTo, announce }) {
  const observer = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && more(linkToMore()),
    { rootMargin: AHEAD },
  );

  /** Load the next results; returns whether there were any. */
  async function more(link, focus = false) {
    if (!link || link.ariaBusy === "true") return false;
    observer.disconnect(); // an observer reports a link that stays visible only once
    link.ariaBusy = "true";
    const page = await load(link.href, { aside: true, refuse: (message) => fail(link, message) });
    if (!page || !link.isConnected) return false;
    const place = link.parentElement;
    const results = place.parentElement;
    // Elements that are moved count as layout shifts, those that are inserted again do not: neither is visible now.
    place.remove();
    const waiting = [...results.querySelectorAll(".waiting")];
    waiting.at(-1)?.parentElement.append(...waiting);
    const cards = [...page.found.querySelectorAll(".grid > li")];
    page.found.querySelectorAll(".band").forEach((band) => append(band, results));
    const next = page.found.querySelector("[data-more]");
    if (next) {
      link.href = next.href;
      results.append(place);
    }
    link.ariaBusy = "false";
    if (focus) cards[0]?.querySelector("a").focus({ preventScroll: true });
    announce(`${results.querySelectorAll(".card").length} photos`);
    watch();
    return true;
  }

  /** Say below the results that no more could be loaded; the button tries again. */
  function fail(link, message) {
    const text = typeof message === "string" ? message : message.textContent;
    link.parentElement.querySelector(".hint")?.remove();
    link.before(Object.assign(document.createElement("p"), { className: "hint", role: "alert", textContent: `No more photos could be loaded. ${text}` }));
    link.ariaBusy = "false";
    showLastRow();
  }

  function watch() {
    observer.disconnect();
    document.querySelector(".more .hint")?.remove();
    hideLastRow();
    const link = linkToMore();
    if (link) observer.observe(link);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-more]");
    if (!link) return;
    event.preventDefault();
    more(link, event.detail === 0); // 0: by the Enter key
  }, true);
  addEventListener("resize", hideLastRow);
  document.addEventListener("toggle", ({ target }) => target.matches(".band") && hideLastRow(), true);
  onShow(watch);
  restore(scrolledTo());

  /** Scroll to where the page was before it was reloaded, and load the results that are above. */
  async function restore(top) {
    while (top > document.documentElement.scrollHeight - innerHeight && (await more(linkToMore())));
    if (top) scrollTo(0, top);
  }
}

function linkToMore() {
  return document.querySelector("[data-more]");
}

/** Add a band of results to those that are shown, or to the same band if it is there. */
function append(band, results) {
  const shown = results.querySelector(`[data-band="${band.dataset.band}"]`);
  if (shown) shown.querySelector(".grid").append(...band.querySelectorAll(".grid > li"));
  else results.append(band);
}

/** Hide the last row of the results while there are more: its photos change their places when the next ones are added. */
function hideLastRow() {
  showLastRow();
  if (!linkToMore()) return;
  const cards = [...([...main().querySelectorAll(".band")].at(-1)?.querySelectorAll(".grid > li") ?? [])];
  const top = cards.at(-1)?.offsetTop;
  cards.filter((card) => card.offsetTop === top).forEach((card) => card.classList.add("waiting"));
}

function showLastRow() {
  document.querySelectorAll(".waiting").forEach((card) => card.classList.remove("waiting"));
}
