// An uploaded photo is not kept on the server. This tab remembers how it looked, so that filtering the results, going
// back and reloading still show it.

const MOST = 20;
const PREFIX = "preview:";
const ATTRIBUTES = ["src", "width", "height", "alt", "class"];

export function restorePreview(main) {
  const subject = main.querySelector(".asked[data-vector]");
  if (!subject) return;
  const key = PREFIX + subject.dataset.vector;
  if (subject.matches("img")) return remember(key, subject);
  const kept = sessionStorage.getItem(key);
  if (kept) subject.replaceWith(picture(JSON.parse(kept), subject));
}

function remember(key, image) {
  const keys = Object.keys(sessionStorage).filter((name) => name.startsWith(PREFIX));
  if (keys.length >= MOST) keys.forEach((name) => sessionStorage.removeItem(name));
  const attributes = Object.fromEntries(ATTRIBUTES.map((name) => [name, image.getAttribute(name)]));
  try {
    sessionStorage.setItem(key, JSON.stringify(attributes));
  } catch {
    // The browser keeps no more: this one is forgotten.
  }
}

function picture(attributes, subject) {
  const image = new Image();
  image.dataset.vector = subject.dataset.vector;
  for (const [name, value] of Object.entries(attributes)) image.setAttribute(name, value);
  return image;
}
