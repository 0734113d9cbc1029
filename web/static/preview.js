// The server keeps uploaded photos for a limited time, if at all. This tab stores a preview, so that the photo is still
// shown after that.

const MAX_PREVIEWS = 20;
const PREFIX = "preview:";
const ATTRIBUTES = ["src", "width", "height", "alt", "class"];

export function restorePreview(main) {
  const frame = main.querySelector(".frame[data-vector]:not([data-vector=''])");
  if (!frame) return;
  const key = PREFIX + frame.dataset.vector;
  const image = frame.querySelector("img");
  if (image) return remember(key, image, frame);
  const stored = sessionStorage.getItem(key);
  if (stored) show(JSON.parse(stored), frame);
}

function remember(key, image, frame) {
  const keys = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  if (keys.length >= MAX_PREVIEWS) keys.forEach((name) => sessionStorage.removeItem(name));
  const attributes = ATTRIBUTES.filter((name) => image.hasAttribute(name)).map((name) => [name, image.getAttribute(name)]);
  try {
    sessionStorage.setItem(key, JSON.stringify({ attributes, ratio: frame.style.getPropertyValue("--ratio") }));
  } catch {
    // The storage is full: this preview is not stored.
  }
}

function show({ attributes, ratio }, frame) {
  const image = new Image();
  for (const [name, value] of attributes) image.setAttribute(name, value);
  frame.querySelector("span").replaceWith(image);
  frame.classList.remove("blank");
  frame.style.setProperty("--ratio", ratio);
  for (const button of document.querySelectorAll("[data-draw], [data-whole]")) button.hidden = false;
}
