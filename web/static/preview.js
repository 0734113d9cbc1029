// An uploaded photo is not kept on the server. This tab remembers how it looked, so that filtering the results, going
// back and reloading still show it.

const MOST = 20;
const PREFIX = "preview:";
const ATTRIBUTES = ["src", "width", "height", "alt", "class"];

export function restorePreview(main) {
  const frame = main.querySelector(".frame[data-vector]:not([data-vector=''])");
  if (!frame) return;
  const key = PREFIX + frame.dataset.vector;
  const image = frame.querySelector("img");
  if (image) return remember(key, image, frame);
  const kept = sessionStorage.getItem(key);
  if (kept) show(JSON.parse(kept), frame);
}

function remember(key, image, frame) {
  const keys = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  if (keys.length >= MOST) keys.forEach((name) => sessionStorage.removeItem(name));
  const attributes = ATTRIBUTES.filter((name) => image.hasAttribute(name)).map((name) => [name, image.getAttribute(name)]);
  try {
    sessionStorage.setItem(key, JSON.stringify({ attributes, ratio: frame.style.getPropertyValue("--ratio") }));
  } catch {
    // The browser keeps no more: this one is forgotten.
  }
}

function show({ attributes, ratio }, frame) {
  const image = new Image();
  for (const [name, value] of attributes) image.setAttribute(name, value);
  frame.querySelector("span").replaceWith(image);
  frame.classList.remove("blank");
  frame.style.setProperty("--ratio", ratio);
  document.querySelector("[data-draw]").hidden = false;
}
