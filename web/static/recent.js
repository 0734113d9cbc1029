// The last searches of this browser, behind the clock in the header. They never leave it.

const KEY = "lookalike:recent";
const MOST = 12;
const SIDE = 96; // pixels of an uploaded photo's small picture

const panel = document.getElementById("recent");
panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && draw());
panel.addEventListener("click", ({ target }) => {
  if (target.closest("button")) forget();
  else if (target.closest("a")) panel.hidePopover();
});

/** Put the search that is shown at the top of the list. */
export function remember(main) {
  const image = main.querySelector(".query .frame img, .query .example.like img");
  if (!image) return;
  const small = () => {
    const entry = { address: main.dataset.address, title: titleOf(main), picture: shrink(image), at: Date.now() };
    const others = read().filter((other) => subjectOf(other.address) !== subjectOf(entry.address));
    write([entry, ...others].slice(0, MOST));
  };
  if (image.complete && image.naturalWidth) small();
  else image.addEventListener("load", small, { once: true });
}

/** What a search starts from; refining it makes no other search of it. */
function subjectOf(address) {
  const fields = new URL(address, location).searchParams;
  return fields.get("id") ?? fields.get("vector") ?? fields.get("like");
}

function titleOf(main) {
  const [own, guess] = [".own", ".guess strong"].map((part) => main.querySelector(part)?.textContent);
  return own ?? (guess ? `Looks like ${guess}` : "A photo");
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
  const forgetting = Object.assign(document.createElement("button"), { className: "plain", textContent: "Forget these" });
  const none = Object.assign(document.createElement("p"), { textContent: "Your searches will be listed here, in this browser only." });
  panel.replaceChildren(...(searches.length ? [...searches.map(row), forgetting] : [none]));
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

function forget() {
  localStorage.removeItem(KEY);
  draw();
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? [];
  } catch {
    return []; // something else wrote there
  }
}

function write(searches) {
  try {
    localStorage.setItem(KEY, JSON.stringify(searches));
  } catch {
    // The browser keeps no more: this one is forgotten.
  }
}
