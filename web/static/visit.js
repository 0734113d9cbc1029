// Navigates between searches without reloading the page: fetches the whole page of a URL and uses its <main>.

import { UNREACHABLE } from "./api.js";
import { announce, main, warn } from "./notices.js";
import { send } from "./send.js";

const MAX_CACHED = 12;
const MARGIN = 16; // pixels above the results
const SCROLL = "scroll:";

const visitors = [];
const returners = [];
const cached = new Map(); // the key of a history entry → its page, so that going back is instant
let entries = 0;
let latest = 0;
let shown = history.state?.key ?? newKey();

history.scrollRestoration = "manual";
history.replaceState({ ...history.state, key: shown }, "");
addEventListener("popstate", ({ state }) => {
  if (!state?.key) return;
  if (state.key === shown) returners.forEach((returner) => returner());
  else goBackOrForth(state.key);
});

addEventListener("pagehide", keepScroll);

/** Call a function with each <main> that is shown, including the current one. */
export function onShow(visitor) {
  visitors.push(visitor);
  visitor(main());
}

/** The scroll position at which this history entry was left by a reload or for another page. */
export function scrolledTo() {
  return Number(sessionStorage.getItem(SCROLL + shown));
}

function keepScroll() {
  try {
    sessionStorage.setItem(SCROLL + shown, scrollY);
  } catch {
    // The storage is full: the position is not kept.
  }
}

/** Call a function if the user goes back or forth to another history entry of the same page. */
export function onReturn(returner) {
  returners.push(returner);
}

/**
 * Show the page of a URL; returns whether it could be loaded.
 * body: the form of a POST request; signal aborts it, onProgress is called with the part that is sent. stay: keep the focus, and show the start of the results or what is above it.
 * focus: selects what gets the focus instead. by: the name of a control, all steps of which are one history entry.
 */
export async function visit(address, { body, signal, onProgress, stay = false, focus, by } = {}) {
  const page = await load(address, { body, signal, onProgress });
  if (!page) return false;
  const focused = focus ?? (stay ? selectorOf(document.activeElement) : null);
  await swap(page, () => {
    const further = by && history.state.by === by;
    if (!further) {
      leave();
      shown = newKey();
    }
    history[further ? "replaceState" : "pushState"]({ key: shown, by }, "", page.found.dataset.address ?? address);
  });
  scrollTo(0, stay ? Math.min(scrollY, startOfResults()) : 0);
  focusOn((focused && page.found.querySelector(focused)) ?? page.found);
  return true;
}

/**
 * Load the page of a URL; returns null if another visit has started since, or on an error.
 * aside: the page adds to the current one, and does not interrupt a visit. refuse: shows an error.
 */
export async function load(address, { body, signal, onProgress, aside = false, refuse = showRefused } = {}) {
  const mine = aside ? latest : ++latest;
  if (!aside) main().ariaBusy = "true";
  try {
    const { status, text } = await (body ? send(address, body, { signal, onProgress }) : get(address));
    return mine === latest ? parse(text, status, refuse) : null;
  } catch {
    if (mine === latest && !signal?.aborted) refuse(UNREACHABLE);
    return null;
  } finally {
    if (!aside && mine === latest) main().ariaBusy = "false";
  }
}

async function get(address) {
  const response = await fetch(address, { headers: { Accept: "text/html" } });
  return { status: response.status, text: await response.text() };
}

function parse(text, status, refuse) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const found = page.getElementById("main");
  const notice = found?.querySelector(".notice");
  if (found && !notice) return { found, title: page.title };
  // Any other page comes from a proxy or from the web server itself.
  refuse(notice ?? `The server returned an error (${status}). Try again later.`);
  return null;
}

/** Show why a page could not be loaded, and the form of the results that remain. */
function showRefused(message) {
  resetForm(main());
  warn(message);
}

async function goBackOrForth(key) {
  latest++; // a visit that is under way would cover the page
  main().ariaBusy = "false";
  leave();
  shown = key;
  const page = cached.get(key) ?? (await load(location.href));
  if (!page || shown !== key) return;
  resetForm(page.found);
  await swap(page);
  scrollTo(0, page.scroll ?? 0);
  focusOn(page.found);
}

/** Set the search form to the search of the results: a slider or label that was changed led to another page. */
function resetForm(found) {
  for (const field of found.querySelectorAll("#search input:not([name=find])")) {
    field.value = field.defaultValue;
    field.checked = field.defaultChecked;
  }
  for (const option of found.querySelectorAll("#search option")) option.selected = option.defaultSelected;
  for (const output of found.querySelectorAll("#search output")) output.value = output.defaultValue;
}

function leave() {
  cached.delete(shown);
  cached.set(shown, { found: main(), title: document.title, scroll: scrollY });
  if (cached.size > MAX_CACHED) cached.delete(cached.keys().next().value);
}

/** Show a page. `before` runs in the same step, so that a reload never sees the new URL with the old page. */
async function swap({ found, title }, before = () => {}) {
  const change = () => {
    before();
    document.title = title;
    main().replaceWith(document.adoptNode(found));
    visitors.forEach((visitor) => visitor(found));
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still || !document.startViewTransition) return change();
  const transition = document.startViewTransition(change);
  transition.ready.catch(() => {}); // rejected if another page interrupts the animation
  await transition.updateCallbackDone;
}

function focusOn(focused) {
  focused.focus({ preventScroll: true });
  const best = main().querySelector(".neighbours .score");
  const count = main().querySelectorAll(".neighbours .card").length;
  const heading = main().querySelector("h1").textContent;
  announce(best ? `${heading}: ${count}, the best with ${best.textContent.replace(", ", "")}` : heading);
}

function startOfResults() {
  const results = main().querySelector(".neighbours");
  return results ? results.getBoundingClientRect().top + scrollY - MARGIN : 0;
}

function newKey() {
  return `${Date.now()}-${++entries}`;
}

function selectorOf(element) {
  if (!element?.name) return null;
  const value = element.type === "checkbox" ? `[value="${CSS.escape(element.value)}"]` : "";
  return `[name="${element.name}"]:not([type="hidden"])${value}`;
}
