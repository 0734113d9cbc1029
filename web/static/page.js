// Searches without reloading the page. Every address gives a whole page; only its <main> is taken.

import { acceptPhotos } from "./upload.js";
import { restorePreview } from "./preview.js";

const main = () => document.getElementById("main");

async function visit(address, { body, remember = true, stay = false } = {}) {
  const page = await load(address, body);
  const found = page?.getElementById("main");
  if (!found) return;
  const notice = found.querySelector(".notice");
  if (notice) return warn(notice);
  if (remember) {
    history.replaceState({ scroll: scrollY }, "");
    history.pushState({}, "", found.dataset.address ?? address);
  }
  restorePreview(found);
  await show(page, found);
  if (!stay) scrollTo(0, remember ? 0 : history.state?.scroll ?? 0);
  if (!stay) found.focus({ preventScroll: true });
  say(found.querySelector("h1").textContent);
}

let latest = 0;

async function load(address, body) {
  const mine = ++latest;
  main().ariaBusy = "true";
  try {
    const answer = await fetch(address, { method: body ? "POST" : "GET", body, headers: { Accept: "text/html" } });
    const text = await answer.text();
    if (mine !== latest) return null;
    const page = new DOMParser().parseFromString(text, "text/html");
    // What is no page of Lookalike comes from a proxy, or from the web server itself.
    if (!page.getElementById("main")) warn(notice(`The server answered with an error (${answer.status}). Try again in a while.`));
    return page;
  } catch {
    if (mine === latest) warn(notice("The server can't be reached. Check that it runs, then try again."));
    return null;
  } finally {
    if (mine === latest) main().ariaBusy = "false";
  }
}

async function show(page, found) {
  const swap = () => {
    document.title = page.title;
    main().replaceWith(document.adoptNode(found));
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still || !document.startViewTransition) return swap();
  const transition = document.startViewTransition(swap);
  transition.ready.catch(() => {}); // the next page may come before this one's animation
  await transition.updateCallbackDone;
}

function notice(sentence) {
  const box = document.createElement("div");
  box.className = "notice";
  box.role = "alert";
  box.textContent = sentence;
  return box;
}

function warn(box) {
  document.querySelector("#main > .notice")?.remove();
  main().prepend(document.adoptNode(box));
  scrollTo(0, 0);
}

function say(sentence) {
  document.getElementById("status").textContent = sentence;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const plain = !link || link.dataset.plain !== undefined || link.origin !== location.origin || link.hash;
  if (plain || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.href, { stay: link.dataset.stay !== undefined });
});

// A photo may be indexed and yet gone from disk. Images can fail before this script runs.
const isPhoto = (element) => element.matches?.(".card img, .asked");
const markGone = (image) => {
  image.classList.add("gone");
  image.alt = "This photo is no longer on disk";
};
document.addEventListener("error", ({ target }) => isPhoto(target) && markGone(target), true);
[...document.images].filter((image) => isPhoto(image) && image.complete && !image.naturalWidth).forEach(markGone);

addEventListener("popstate", () => visit(location.href, { remember: false }));

history.scrollRestoration = "manual";
restorePreview(main());
acceptPhotos({ search: (form, body) => visit(form.action, { body }), refuse: (sentence) => warn(notice(sentence)) });
