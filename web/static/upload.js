// A photo that is chosen, taken, dropped anywhere or pasted is searched with at once.

const MOST_HELD = 6;
const held = new Map(); // an uploaded photo's embedding, as in the address → its file, to search parts of it

/** The uploaded photo that a frame shows; its small picture where the page was reloaded since and the photo is gone. */
export function photoOf(frame) {
  return held.get(frame.dataset.vector) ?? fileOf(frame.querySelector("img"));
}

export function acceptPhotos({ visit, refuse }) {
  const form = () => document.querySelector("form.chooser");

  async function take(file) {
    if (!file) return refuse("That was no photo. Drop or paste an image file.");
    const limit = Number(form().dataset.maxBytes);
    if (file.size > limit) return refuse(`This file is larger than the ${limit / 1e6} MB allowed. Choose a smaller photo.`);
    const body = new FormData();
    body.set("image", file);
    if (await visit(form().action, { body })) hold(file);
  }

  document.addEventListener("change", ({ target }) => {
    if (target.name === "image" && target.files.length) take(target.files[0]);
  });

  document.addEventListener("paste", (event) => {
    const photo = imageIn(event.clipboardData);
    if (photo) {
      event.preventDefault();
      take(photo);
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
    take(imageIn(event.dataTransfer));
  });
}

/** Remember the file that the page now shows the results of. */
export function hold(file) {
  const vector = document.querySelector(".frame[data-vector]")?.dataset.vector;
  if (!vector) return;
  held.set(vector, file);
  if (held.size > MOST_HELD) held.delete(held.keys().next().value);
}

function imageIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}

function fileOf(image) {
  const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (char) => char.charCodeAt(0));
  return new File([bytes], "photo.jpg", { type: "image/jpeg" });
}
