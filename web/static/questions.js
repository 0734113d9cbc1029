// Asks in a dialog before photos are changed.

import { fetchJson } from "./api.js";
import { counted } from "./texts.js";

const MOST_SUGGESTIONS = 200;

/** Show a dialog; returns the fields of its form, or null if the user cancels. */
export function ask(selector, { count, suggestions }) {
  const dialog = document.querySelector(`dialog${selector}`);
  const form = dialog.querySelector("form");
  dialog.querySelector(".of").textContent = counted(count, "photo");
  dialog.querySelector("button[type=button]").onclick = () => dialog.close("");
  if (suggestions) suggest(dialog.querySelector("datalist"), suggestions);
  form.reset();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue ? new FormData(form) : null), { once: true });
  });
}

async function suggest(list, address) {
  const { labels } = await fetchJson(`${address}?limit=${MOST_SUGGESTIONS}`).catch(() => ({ labels: [] }));
  list.replaceChildren(...labels.map(({ label }) => Object.assign(document.createElement("option"), { value: label })));
}
