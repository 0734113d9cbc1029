// The recent searches of this browser, shown by the clock button. They are stored in the browser only.

const KEY = "lookalike:recent";
const MAX_SEARCHES = 12;
const SIDE = 96; // pixels of an uploaded photo's thumbnail

const panel = document.getElementById("recent");
const list = panel.querySelector(".history");
panel.addEventListener("beforetoggle", async ({ newState }) => {
  if (newState !== "open") return;
  draw();
  (await import("./saved.js")).draw();
});
document.addEventListener("submit", async (event) => {
  if (!event.target.matches("form[data-save]")) return;
  event.preventDefault();
  (await import("./saved.js")).save(event.target);
});
panel.addEventListener("click", ({ target }) => {
  if (target.closest(".history button")) clearHistory();
  else if (target.closest("a")) panel.hidePopover();
});

/** Put the current search at the top of the list. */
export function remember(main) {
  const image = main.querySelector(".query .frame img, .query .example.like img");
  if (!image) return;
  const add = () => {
    const entry = { address: main.dataset.address, title: titleOf(main), picture: shrink(image), at: Date.now() };
    const others = read().filter((other) => subjectOf(other.address) !== subjectOf(entry.address));
    write([entry, ...others].slice(0, MAX_SEARCHES));
  };
  if (image.complete && image.naturalWidth) add();
  else image.addEventListener("load", add, { once: true });
}

/** Identifies the query of a search; a refined search replaces the entry of its query. */
function subjectOf(address) {
  const fields = new URL(address, location).searchParams;
  return fields.get("id") ?? fields.get("vector") ?? fields.get("like");
}

function titleOf(main) {
  const [own, guess] = [".own bdi", ".guess strong"].map((part) => main.querySelector(part)?.textContent);
  return own ?? (guess ? `Probably ${guess}` : "Uploaded photo");
}

function shrink(image) {
  if (!image.src.startsWith("data:")) return image.getAttribute("src");
  const scale = Math.min(1, SIDE / Math.min(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth * scale, image.naturalHeight * scale].map(Math.ceil);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.7);
}

function draw() {
  const searches = read();
  const clear = Object.assign(document.createElement("button"), { className: "plain", textContent: "Clear history" });
  const none = Object.assign(document.createElement("p"), { textContent: "Your recent searches appear here. They are stored in this browser only." });
  list.replaceChildren(...(searches.length ? [...searches.map(row), clear] : [none]));
}

function row({ address, title, picture, at }) {
  const link = Object.assign(document.createElement("a"), { href: address });
  const image = Object.assign(new Image(52, 52), { src: picture, alt: "" });
  const text = document.createElement("span");
  const name = Object.assign(document.createElement("bdi"), { textContent: title });
  const time = Object.assign(document.createElement("time"), { textContent: new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) });
  text.append(name, time);
  link.append(image, text);
  return link;
}

function clearHistory() {
  localStorage.removeItem(KEY);
  draw();
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // not our JSON
  }
}

function write(searches) {
  try {
    localStorage.setItem(KEY, JSON.stringify(searches));
  } catch {
    // The storage is full: this search is not stored.
  }
}
