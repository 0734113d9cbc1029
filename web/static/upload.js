// Searches with a photo as soon as it is chosen, taken, dropped or pasted.

import { acceptDrops } from "./drop.js";
import { showPending } from "./pending.js";
import { decode, reduced, sha256 } from "./send.js";

const MAX_FILES = 6;
const files = new Map(); // the embedding of an uploaded photo, as in the URL → its file, to search parts of it

/** The uploaded photo in a frame; null if the page has been reloaded since. */
export function fileOf(frame) {
  return files.get(frame.dataset.vector) ?? null;
}

/** The uploaded photo in a frame, or its preview if the page has been reloaded since. */
export function photoOf(frame) {
  return fileOf(frame) ?? previewOf(frame.querySelector("img"));
}

/** Accept photos; returns the function that searches with one. */
export function acceptPhotos({ visit, refuse }) {
  const form = () => document.querySelector("form.chooser");

  /** Search with a photo, and with the other fields of a form, by default those terms that stay; `original`: send it as it is. */
  async function search(file, { fields = new FormData(form()), original = false } = {}) {
    fields.delete("image"); // of the inputs in which none was chosen
    const pending = showPending();
    try {
      const pixels = await decode(file);
      pending.show(pixels);
      const photo = original ? file : await reduced(file, pixels);
      const limit = Number(form().dataset.maxBytes);
      if (photo.size > limit) return refuse(`This file is larger than the limit of ${limit / 1e6} MB. Choose a smaller photo.`);
      fields.set("image", photo);
      const hash = photo !== file && (await sha256(file));
      if (hash) fields.set("sha256", hash);
      const { signal, onProgress } = pending;
      onProgress(0);
      if (!signal.aborted && (await visit(form().action, { body: fields, signal, onProgress }))) keepFile(file);
    } finally {
      pending.done();
    }
  }

  async function searchOneOf(photos, count) {
    if (!photos.length) return refuse("That is not a photo. Drop or paste an image file.");
    await search(photos[0]);
    if (count > 1) refuse(`Only one photo is searched at a time: the first of the ${count} files.`);
  }

  document.addEventListener("change", ({ target }) => {
    if (target.name !== "image" || !target.files.length) return;
    search(target.files[0]);
    target.value = ""; // otherwise the same file could not be chosen again
  });

  document.addEventListener("paste", (event) => {
    const photos = imagesIn(event.clipboardData);
    if (!photos.length) return;
    event.preventDefault();
    searchOneOf(photos, photos.length);
  });

  acceptDrops((dropped) => searchOneOf(imagesIn(dropped), dropped.files.length));

  return search;
}

/** Keep the file of the query photo that the page shows. */
function keepFile(file) {
  const vector = document.querySelector(".frame[data-vector]")?.dataset.vector;
  if (!vector) return;
  files.set(vector, file);
  if (files.size > MAX_FILES) files.delete(files.keys().next().value);
}

function imagesIn(transfer) {
  // Browsers give no type to files of formats that they don't know, such as camera raw.
  return [...(transfer?.files ?? [])].filter((file) => !file.type || file.type.startsWith("image/"));
}

function previewOf(image) {
  const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (char) => char.charCodeAt(0));
  return new File([bytes], "photo.jpg", { type: "image/jpeg" });
}
