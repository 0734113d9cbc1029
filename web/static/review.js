// The review page: shows the photos of a queue one at a time, and saves what a person says about them.

import { change as request, fetchJson, follow, post } from "./api.js";
import { completeLabels, spelled } from "./complete.js";
import { describe, plain } from "./errors.js";
import { announce, main, warn } from "./notices.js";
import { Saver } from "./saver.js";

const AT_ONCE = 200; // photos of a queue that are fetched
const NEAR = 8;
const MOST_LABELS = 1000;
const KEYS = { Enter: "accept", k: "keep", u: "undo", ArrowLeft: "previous", ArrowRight: "next" };

const { api, queue, photo: photoPage, look, writable } = main().dataset;
const isDuplicates = queue === "duplicates";
const images = `${api}/images`;
const stage = main().querySelector(".stage");
const find = (selector) => stage.querySelector(selector);
const saver = new Saver(main().querySelector(".saving"), main().querySelector(".failed"));
const near = new Map(); // the id of a photo → a promise of the photos to show beside it
const items = []; // of the queue, in order; those that are dealt with have `done`
const undoable = []; // changes, the last one last
let at = 0;
let more = 0; // photos that wait on the server and are not fetched
let labels = [];

attempt(open);
stage.addEventListener("click", ({ target }) => run(target.closest("[data-do]")?.dataset.do));
document.addEventListener("keydown", onKey);
if (find("form.other")) acceptLabels(find("form.other"));

async function open() {
  try {
    await showCounts();
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    return offer(main().querySelector(".missing"));
  }
  await Promise.all([fetchLabels(), fetchMore()]);
  show();
}

async function fetchLabels() {
  const found = await fetchJson(`${api}/labels?limit=${MOST_LABELS}`);
  labels = found.labels.map(({ label }) => label);
}

async function showCounts() {
  const { changed, queues } = await fetchJson(`${api}/queues`);
  for (const { name, total } of queues) main().querySelector(`[data-count="${name}"] .count`).textContent = total.toLocaleString();
  if (!changed) return;
  const stale = main().querySelector(".stale");
  stale.querySelector("span").textContent = `${changed.toLocaleString()} ${changed === 1 ? "photo has" : "photos have"} changed since these were found.`;
  offer(stale);
}

/** Show the offer to find photos, with its button. */
function offer(place) {
  place.hidden = false;
  const [button, progress] = [place.querySelector("button"), place.querySelector("output")];
  const fail = (reason) => ([progress.value, button.disabled] = [reason, false]);
  button?.addEventListener("click", async () => {
    [button.disabled, progress.value] = [true, "Looking at all photos…"];
    try {
      const job = await post(`${api}/jobs`, { kind: "review" });
      follow(`${api}/jobs/${job.id}/events`, (now) => {
        if (now.state === "done") location.reload();
        else if (now.state !== "running") fail(plain(now.error ?? "") || `The job has ended: ${now.state}.`);
      });
    } catch (problem) {
      fail(describe(problem));
    }
  });
}

/** Fetch the next photos of the queue; those that were dealt with are no longer in that of the server. */
async function fetchMore() {
  await saver.idle();
  const offset = items.filter(({ done }) => !done).length;
  const { photos, total } = await fetchJson(`${api}/queues/${queue}?limit=${AT_ONCE}&offset=${offset}`);
  const known = new Set(items.map(({ photo }) => photo.id));
  const fresh = photos.filter(({ photo }) => !known.has(photo.id));
  items.push(...fresh);
  more = fresh.length ? total - offset - photos.length : 0;
}

/** Show the current photo, and fetch the next one. */
function show() {
  const item = items[at];
  main().querySelector(".done").hidden = Boolean(item);
  stage.hidden = !item && !undoable.length;
  stage.classList.toggle("ended", !item);
  const undo = find("[data-do=undo]");
  if (undo) undo.disabled = !undoable.length;
  if (!item) return announce("Nothing is left to review in this queue.");
  const { photo } = item;
  Object.assign(find("img.photo"), { src: large(photo), alt: photo.label ?? "Photo without a label" });
  find(".large a").href = photoPage + photo.id;
  find(".file").textContent = photo.path;
  find(".place").textContent = `${(at + 1).toLocaleString()} of ${(items.length + more).toLocaleString()}${item.done ? ` · ${item.done}` : ""}`;
  find(".now").textContent = photo.label ?? "No label";
  find(".reason").textContent = item.reason;
  nameButtons(item);
  announce(`${photo.label ?? "No label"}. ${item.reason}`);
  showNear(item);
  prefetch(items[at + 1]);
}

function nameButtons({ photo, suggested }) {
  const [accept, keep] = [find("[data-do=accept]"), find("[data-do=keep]")];
  if (!accept) return;
  accept.hidden = suggested === null;
  keep.hidden = photo.label === null;
  accept.querySelector("span").textContent = `Label “${suggested}”`;
  keep.querySelector("span").textContent = `Keep “${photo.label}”`;
}

async function showNear(item) {
  const list = find(".near");
  list.replaceChildren();
  try {
    const found = await nearOf(item);
    if (items[at] === item) list.replaceChildren(...found.map(thumbnail));
  } catch {
    near.delete(item.photo.id); // the photo can be reviewed without the others
  }
}

/** The photo of which it is a duplicate, or those nearest to it. */
function nearOf({ photo, duplicate_of: original }) {
  if (!near.has(photo.id)) {
    const weight = look === undefined ? "" : `&look=${look}`;
    const found = original ? fetchJson(`${images}/${original}`).then((one) => [one]) : fetchJson(`${images}/${photo.id}/similar?k=${NEAR}${weight}`).then(({ results }) => results);
    near.set(photo.id, found);
  }
  return near.get(photo.id);
}

function thumbnail({ id, label, path, thumbnail_url: source }) {
  const [row, link] = [document.createElement("li"), document.createElement("a")];
  const name = Object.assign(document.createElement("bdi"), { textContent: isDuplicates ? path : (label ?? "No label") });
  link.href = photoPage + id;
  link.append(Object.assign(new Image(), { src: source, alt: "" }), name);
  row.append(link);
  return row;
}

function prefetch(item) {
  if (!item) return;
  new Image().src = large(item.photo);
  nearOf(item).catch(() => near.delete(item.photo.id));
}

/** A JPEG that every browser shows. */
function large({ image_url: file }) {
  return file.replace(/file$/, "rendition");
}

function acceptLabels(form) {
  completeLabels(form.label, () => labels);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const label = spelled(form.label.value, labels);
    if (label && items[at]) correct(items[at], label);
  });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { target, key } = event;
  if (target.closest("input")) {
    if (key === "Escape") target.blur();
    return;
  }
  if ((key === "Enter" && target.closest("a, button")) || (event.repeat && !key.startsWith("Arrow"))) return;
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (name === "l" && find("form.other")) {
    event.preventDefault();
    find("form.other").label.select();
  } else if (KEYS[name]) {
    event.preventDefault();
    run(KEYS[name] === "accept" && isDuplicates ? "remove" : KEYS[name]);
  }
}

/** Do what a button or a key stands for. */
function run(action) {
  const item = items[at];
  if (action === "previous") return move(-1);
  if (action === "next") return item && move(1);
  if (writable === undefined || !action) return;
  if (action === "undo") return undo();
  if (!item) return;
  if (action === "remove" && isDuplicates) return remove(item);
  if (action === "keep" && isDuplicates) return keep(item);
  if (action === "keep" && item.photo.label !== null) return correct(item, item.photo.label);
  if (action === "accept" && item.suggested !== null) return correct(item, item.suggested);
  find("form.other")?.label.select(); // there is nothing to accept or to keep
}

async function move(by) {
  at = Math.max(0, Math.min(at + by, items.length));
  if (at === items.length && more) await attempt(fetchMore);
  show();
}

/** Give a photo a label, which confirms it. */
function correct(item, label) {
  const { label: before, confirmed: wasConfirmed = false } = item.photo;
  const patch = (change, force) => async () => {
    const headers = force ? {} : { "If-Match": `"${item.photo.version}"` };
    item.photo = await request("PATCH", `${images}/${item.photo.id}`, change, headers);
  };
  const [after, restored] = [{ label, confirmed: true }, { label: before, confirmed: wasConfirmed }];
  const text = label === before ? `Confirming “${label}”` : `The label “${label}”`;
  find("form.other").reset();
  if (!labels.includes(label)) labels.push(label);
  act(item, `labelled ${label}`, {
    change: { text, run: patch(after), force: patch(after, true) },
    reverse: { text: "Undoing that", run: patch(restored), force: patch(restored, true) },
  });
}

function remove(item) {
  const address = `${images}/${item.photo.id}`;
  act(item, "removed", {
    change: { text: "Removing the photo", run: () => request("DELETE", address) },
    reverse: { text: "Restoring the photo", run: () => post(`${address}/restore`) },
  });
}

function keep(item) {
  const address = `${api}/queues/duplicates/${item.photo.id}/keep`;
  act(item, "kept", {
    change: { text: "Keeping the photo", run: () => request("POST", address) },
    reverse: { text: "Undoing that", run: () => request("DELETE", address) },
  });
}

/** Save a change in the background, and show the next photo. */
function act(item, done, { change, reverse }) {
  const image = item.photo.thumbnail_url;
  const made = { item, at, wasDone: item.done, change: { ...change, image }, reverse: { ...reverse, image } };
  undoable.push(made);
  if (!item.done) countBy(-1);
  item.done = done;
  saver.save(made.change);
  document.activeElement?.closest("input")?.blur();
  move(1);
}

function undo() {
  const made = undoable.pop();
  if (!made) return;
  const isUnsaved = saver.discard(made.change);
  if (!isUnsaved) saver.save(made.reverse);
  if (!made.wasDone) countBy(1);
  made.item.done = made.wasDone;
  at = made.at;
  show();
}

function countBy(difference) {
  const place = main().querySelector(`[data-count="${queue}"] .count`);
  place.dataset.value ??= place.textContent.replace(/\D/g, "");
  place.dataset.value = Number(place.dataset.value) + difference;
  place.textContent = Number(place.dataset.value).toLocaleString();
}

function attempt(action) {
  return action().catch((problem) => warn(describe(problem)));
}
