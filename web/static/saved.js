// The searches that are saved on the server under names: saves the current one, and lists them above the recent ones.

import { change, fetchJson } from "./api.js";
import { describe } from "./errors.js";
import { announce } from "./notices.js";

const panel = document.getElementById("recent");
const section = panel.querySelector(".saved");
const { searches: api, login } = panel.dataset;
const addressOf = (name) => `${api}/${encodeURIComponent(name)}`;
const list = document.createElement("ul");
section.append(Object.assign(document.createElement("h2"), { textContent: "Saved searches" }), list);

document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("saved.css", import.meta.url) }));

/** Save the search of a form under the name that was entered. */
export async function save(form) {
  const result = form.parentElement.parentElement.querySelector("[role=status]");
  result.textContent = "";
  try {
    const { name, photo_kept: photoKept } = await change("PUT", addressOf(form.elements.name.value), { address: form.dataset.save });
    const withoutPhoto = form.dataset.save.includes("vector=") && !photoKept;
    result.textContent = `Saved as “${name}”${withoutPhoto ? ", without the photo, which can't be kept" : ""}. The clock button lists your searches.`;
    form.reset();
    form.parentElement.open = false;
    form.parentElement.querySelector("summary").focus();
  } catch (problem) {
    result.textContent = `${describe(problem)} `;
    if (problem.status === 401) result.append(Object.assign(document.createElement("a"), { href: login, target: "_blank", textContent: "Sign in" }));
  }
}

/** List the saved searches; nothing is shown without a key. */
export async function draw(focused) {
  const { searches } = await fetchJson(api).catch(() => ({ searches: [] }));
  list.replaceChildren(...searches.map(row));
  section.hidden = !searches.length;
  const links = [...list.querySelectorAll("a")];
  if (focused !== undefined) (links.find((link) => link.textContent === focused) ?? links[0] ?? panel.querySelector("button, a"))?.focus();
}

function row({ name, page_url: url }) {
  const item = document.createElement("li");
  const link = Object.assign(document.createElement("a"), { href: url });
  link.dataset.plain = "";
  link.append(Object.assign(document.createElement("bdi"), { textContent: name }));
  item.append(link, button("Rename", name, () => askForName(item, name)), button("Remove", name, () => remove(item, name)));
  return item;
}

function button(title, name, act) {
  const made = Object.assign(document.createElement("button"), { className: "plain", textContent: title });
  made.setAttribute("aria-label", `${title} ${name}`);
  made.addEventListener("click", act);
  return made;
}

/** Replace a row by a form with the name. */
function askForName(item, name) {
  const form = document.createElement("form");
  const field = Object.assign(document.createElement("input"), { value: name, ariaLabel: "New name", maxLength: 100, pattern: "[^\\/]*[^\\/.][^\\/]*", autocomplete: "off", required: true });
  const [rename, cancel] = ["Rename", "Cancel"].map((text) => Object.assign(document.createElement("button"), { className: "plain", textContent: text }));
  cancel.type = "button";
  form.append(field, rename, cancel);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const renamed = await attempt(item, () => change("PATCH", addressOf(name), { name: field.value }));
    if (renamed) draw(renamed.name);
  });
  cancel.addEventListener("click", () => draw(name));
  item.replaceChildren(form);
  field.focus();
  field.select();
}

async function remove(item, name) {
  const removed = await attempt(item, async () => (await change("DELETE", addressOf(name))) ?? true);
  if (!removed) return;
  announce(`Removed ${name}`);
  draw("");
}

/** The result of a change; null if it fails, which is said in the row. */
async function attempt(item, act) {
  item.querySelector("[role=alert]")?.remove();
  try {
    return await act();
  } catch (problem) {
    item.append(Object.assign(document.createElement("p"), { role: "alert", textContent: describe(problem) }));
    return null;
  }
}
