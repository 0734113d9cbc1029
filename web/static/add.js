// The page that adds photos: uploads folders and photos of this device, then starts a job that indexes them.

import { post, postForm } from "./api.js";
import { acceptDrops } from "./drop.js";
import { describe } from "./errors.js";
import { dismiss, main, warn } from "./notices.js";

const AT_ONCE = 3; // uploads
const MOST_PHOTOS = 20_000;
const FIRST_REFUSED = 3; // files that a message names
const SPLIT = /^(train|val|valid|validation|test)$/i; // names of folders

const form = main().querySelector(".uploads");
const panel = main().querySelector(".sending");
const { uploads, jobs, follow } = main().dataset;

if (form) {
  form.addEventListener("change", ({ target }) => {
    if (target.type !== "file") return;
    const files = [...target.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
    target.value = ""; // otherwise the same folder could not be chosen again
    add(files);
  });
  acceptDrops(addDropped);
}

/** Upload the photos among some files with paths, and index them. */
async function add(files) {
  dismiss();
  const photos = withLabels(files.filter(isPhoto));
  if (!panel.hidden) return warn("Wait for the end of the upload that is running, or cancel it.");
  if (!photos.length) return warn(`There is no photo among ${files.length === 1 ? "this 1 file" : `these ${files.length.toLocaleString()} files`}.`);
  if (photos.length > MOST_PHOTOS) return warn(`These are ${photos.length.toLocaleString()} photos, and at most ${MOST_PHOTOS.toLocaleString()} can be uploaded at once. Choose a part of them, or a folder on the server.`);
  const sending = show(photos.length);
  try {
    const { folder, refused } = await sendAll(photos, sending);
    if (sending.signal.aborted) return;
    if (!folder) return warn(`No photo was stored. ${listed(refused)}`);
    await post(jobs, { sources: [folder], label_from: photos[0].label ? "folder" : "none", ...chosenModel() });
    if (!refused.length) return location.assign(follow);
    const link = Object.assign(document.createElement("a"), { href: follow, textContent: "Follow the job" });
    warn(`${refused.length.toLocaleString()} of ${photos.length.toLocaleString()} photos were not stored. ${listed(refused)} The others are being indexed. `);
    main().querySelector(".notice").append(link);
  } catch (problem) {
    if (!sending.signal.aborted) warn(`${describe(problem)} ${sending.stored.toLocaleString()} of ${photos.length.toLocaleString()} photos are stored; choose the same photos again to continue.`);
  } finally {
    panel.hidden = true;
  }
}

/** Send photos, some at the same time; returns their folder on the server, and the files that it refused. */
async function sendAll(photos, sending) {
  const left = [...photos];
  const refused = [];
  let folder = null;
  const sendNext = async () => {
    const photo = left.shift();
    try {
      if (photo.file.size > Number(form.dataset.maxBytes)) throw { status: 413, detail: "It is too large." };
      ({ folder } = await sendPatiently(photo, sending.signal));
      sending.stored++;
    } catch (problem) {
      if (![413, 415, 422].includes(problem.status)) throw problem;
      refused.push(`${photo.file.name}: ${problem.detail}`);
    }
    sending.progress(photos.length - left.length);
  };
  await sendNext(); // it may ask for a key, once
  const line = async () => {
    while (left.length && !sending.signal.aborted) await sendNext();
  };
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, line));
  } catch (problem) {
    left.length = 0;
    throw problem;
  }
  return { folder, refused };
}

/** Send a photo; if there were too many requests, wait as long as the server says. */
async function sendPatiently({ file, label }, signal) {
  for (;;) {
    const body = new FormData();
    body.set("image", file);
    if (label) body.set("label", label);
    try {
      return await postForm(uploads, body, signal);
    } catch (problem) {
      if (problem.status !== 429 || signal.aborted) throw problem;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (problem.retryAfter || 1)));
    }
  }
}

/** Show the progress of an upload; `signal` is aborted if the user cancels it. */
function show(total) {
  const cancelling = new AbortController();
  const bar = panel.querySelector("progress");
  panel.querySelector("button").onclick = () => cancelling.abort();
  panel.hidden = false;
  const progress = (done) => {
    bar.value = done / total;
    panel.querySelector("p").textContent = `Uploading: ${done.toLocaleString()} of ${total.toLocaleString()} photos`;
  };
  progress(0);
  panel.scrollIntoView({ block: "nearest" });
  return { signal: cancelling.signal, stored: 0, progress };
}

/** The fields of a job that name its model, if there is none yet. */
function chosenModel() {
  const chosen = form.elements.model?.value;
  if (!chosen) return {};
  return chosen === "pretrained" ? { pretrained: true } : { model: chosen };
}

function listed(refused) {
  const more = refused.length - FIRST_REFUSED;
  return `${refused.slice(0, FIRST_REFUSED).join(" ")}${more > 0 ? ` And ${more.toLocaleString()} more.` : ""}`;
}

/**
 * Add the labels that indexing the same folder on the server gives: the first folder below it, or its own name for photos
 * in itself; if the first folders are splits, the folders in them. Without folders, and for several files, there are none.
 */
function withLabels(photos) {
  const paths = photos.map(({ path }) => path.split("/"));
  const isOneFolder = new Set(paths.map(([top]) => top)).size === 1 && paths.every(({ length }) => length > 1);
  if (!isOneFolder || paths.every(({ length }) => length === 2)) return photos;
  const level = paths.every(([, first, , name]) => name && SPLIT.test(first)) ? 2 : 1;
  return photos.map((photo, at) => ({ ...photo, label: paths[at].length > level + 1 ? paths[at][level] : paths[at][0] }));
}

/** Whether the server reads the format of a file, and neither the file nor a folder around it is hidden. */
function isPhoto({ file: { name, type }, path }) {
  if (path.split("/").some((part) => part.startsWith("."))) return false;
  const accepted = form.elements.photos.accept.split(",").map((one) => one.trim());
  const dot = name.lastIndexOf(".");
  return dot > 0 && (type.startsWith("image/") || accepted.includes(name.slice(dot).toLowerCase()));
}

/** Upload the photos among dropped files and folders, and index them. */
async function addDropped({ items }) {
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  try {
    add((await Promise.all(entries.map(filesOf))).flat());
  } catch {
    warn("The files can't be read. Choose them with the button instead.");
  }
}

/** The files of an entry, with their paths: the file itself, or those of a folder and of the folders below it, without hidden ones. */
async function filesOf(entry) {
  if (entry.name.startsWith(".")) return [];
  const path = entry.fullPath.slice(1);
  if (entry.isFile) return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path }];
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100
    if (!some.length) return files;
    for (const one of some) files.push(...(await filesOf(one)));
  }
}
