// Searches with a photo as soon as it is chosen, taken, dropped or pasted.

const MAX_FILES = 6;
const files = new Map(); // the embedding of an uploaded photo, as in the URL → its file, to search parts of it

/** The uploaded photo in a frame, or its preview if the page has been reloaded since. */
export function photoOf(frame) {
  return files.get(frame.dataset.vector) ?? fileOf(frame.querySelector("img"));
}

export function acceptPhotos({ visit, refuse }) {
  const form = () => document.querySelector("form.chooser");

  async function search(file) {
    if (!file) return refuse("That is not a photo. Drop or paste an image file.");
    const limit = Number(form().dataset.maxBytes);
    if (file.size > limit) return refuse(`This file is larger than the limit of ${limit / 1e6} MB. Choose a smaller photo.`);
    const body = new FormData();
    body.set("image", file);
    if (await visit(form().action, { body })) keepFile(file);
  }

  document.addEventListener("change", ({ target }) => {
    if (target.name !== "image" || !target.files.length) return;
    search(target.files[0]);
    target.value = ""; // otherwise the same file could not be chosen again
  });

  document.addEventListener("paste", (event) => {
    const photo = imageIn(event.clipboardData);
    if (photo) {
      event.preventDefault();
      search(photo);
    }
  });

  const veil = document.querySelector(".dropping");
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.classList.add("shown");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.classList.remove("shown");
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.classList.remove("shown");
    search(imageIn(event.dataTransfer));
  });
}

/** Keep the file of the query photo that the page shows. */
export function keepFile(file) {
  const vector = document.querySelector(".frame[data-vector]")?.dataset.vector;
  if (!vector) return;
  files.set(vector, file);
  if (files.size > MAX_FILES) files.delete(files.keys().next().value);
}

function imageIn(transfer) {
  // Browsers give no type to files of formats that they don't know, such as camera raw.
  return [...(transfer?.files ?? [])].find((file) => !file.type || file.type.startsWith("image/"));
}

function fileOf(image) {
  const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (char) => char.charCodeAt(0));
  return new File([bytes], "photo.jpg", { type: "image/jpeg" });
}
