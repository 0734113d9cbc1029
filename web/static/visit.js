// Goes to another search without reloading the page. Every address gives a whole page; only its <main> is taken.

import { main, say, warn } from "./notices.js";

const MOST_KEPT = 12;

const visitors = [];
const kept = new Map(); // the key of an entry in the history → what it showed, so that going back is instant
let entries = 0;
let latest = 0;
let shown = history.state?.key ?? newKey();

history.scrollRestoration = "manual";
history.replaceState({ key: shown }, "");
addEventListener("popstate", ({ state }) => state?.key && state.key !== shown && goBackOrForth(state.key));

/** Have a function called with every <main> that is shown, the first one included. */
export function onShow(visitor) {
  visitors.push(visitor);
  visitor(main());
}

/**
 * Show the page of an address; returns whether it came.
 * body: what to post there. stay: keep the place on the page, and what has the focus.
 */
export async function visit(address, { body, stay = false } = {}) {
  const page = await load(address, { body });
  if (!page) return false;
  const focused = stay ? selectorOf(document.activeElement) : null;
  await swap(page, () => {
    leave();
    shown = newKey();
    history.pushState({ key: shown }, "", page.found.dataset.address ?? address);
  });
  if (!stay) scrollTo(0, 0);
  announce((focused && page.found.querySelector(focused)) ?? page.found);
  return true;
}

/**
 * The page of an address, or null where another was visited since, or none came.
 * aside: it only adds to the page that is shown, and never comes in the way of another visit.
 */
export async function load(address, { body, aside = false } = {}) {
  const mine = aside ? latest : ++latest;
  if (!aside) main().ariaBusy = "true";
  try {
    const answer = await fetch(address, { method: body ? "POST" : "GET", body, headers: { Accept: "text/html" } });
    const text = await answer.text();
    return mine === latest ? parse(text, answer.status) : null;
  } catch {
    if (mine === latest) warn("The server can't be reached. Check that it runs, then try again.");
    return null;
  } finally {
    if (!aside && mine === latest) main().ariaBusy = "false";
  }
}

function parse(text, status) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const found = page.getElementById("main");
  const notice = found?.querySelector(".notice");
  if (found && !notice) return { found, title: page.title };
  // What is no page of Lookalike comes from a proxy, or from the web server itself.
  warn(notice ?? `The server answered with an error (${status}). Try again in a while.`);
  return null;
}

async function goBackOrForth(key) {
  leave();
  shown = key;
  const page = kept.get(key) ?? (await load(location.href));
  if (!page || shown !== key) return;
  await swap(page);
  scrollTo(0, page.scroll ?? 0);
  announce(page.found);
}

function leave() {
  kept.delete(shown);
  kept.set(shown, { found: main(), title: document.title, scroll: scrollY });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

/** Show a page; what is called just before changes with it at once, as no reload may come between address and page. */
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
  transition.ready.catch(() => {}); // the next page may come before this one's animation
  await transition.updateCallbackDone;
}

function announce(focused) {
  focused.focus({ preventScroll: true });
  const best = main().querySelector(".neighbours .score");
  const count = main().querySelectorAll(".neighbours .card").length;
  const heading = main().querySelector("h1").textContent;
  say(best ? `${heading}: ${count}, the best with similarity ${best.lastChild.textContent}` : heading);
}

function newKey() {
  return `${Date.now()}-${++entries}`;
}

function selectorOf(element) {
  if (!element?.name) return null;
  const value = element.type === "checkbox" ? `[value="${CSS.escape(element.value)}"]` : "";
  return `[name="${element.name}"]${value}`;
}
