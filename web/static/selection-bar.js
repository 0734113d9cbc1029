// The bar at the bottom of the page: the number of selected photos, and what can be done with them.

import { UNREACHABLE } from "./api.js";
import { describe } from "./errors.js";
import { announce, warn } from "./notices.js";
import { actionsOf } from "./selection-actions.js";
import { onSelect, selection } from "./selection.js";
import { counted } from "./texts.js";

/** Load the bar when the first photo is selected. */
export function showBar({ visit }) {
  let loading = null;
  onSelect(() => {
    if (selection().size) loading ??= load().then(() => work({ visit }), () => (loading = warn(UNREACHABLE)));
  });
}

async function load() {
  const response = await fetch(document.body.dataset.selection, { headers: { Accept: "text/html" } });
  if (!response.ok) throw response;
  document.body.insertAdjacentHTML("beforeend", await response.text());
  const style = document.querySelector("body > link[rel=stylesheet]");
  await new Promise((resolve) => (style.onload = style.onerror = resolve));
}

function work({ visit }) {
  const bar = document.querySelector(".selection");
  const [count, outcome, undo] = [".count", ".outcome", "[data-act=undo]"].map((part) => bar.querySelector(part));
  const actions = actionsOf(bar.dataset, { say, visit });

  function say(text) {
    outcome.textContent = text;
    if (text) announce(text);
    show();
  }

  function show() {
    const { size } = selection();
    const focused = bar.contains(document.activeElement);
    bar.hidden = !size && !outcome.textContent;
    count.textContent = `${size.toLocaleString()} selected`;
    bar.classList.toggle("none", !size);
    undo.hidden = !actions.canUndo();
    if (focused && !document.activeElement.checkVisibility()) (bar.hidden ? document.getElementById("main") : bar.querySelector("[data-act=clear]")).focus({ preventScroll: true });
  }

  bar.addEventListener("click", async ({ target }) => {
    const name = target.closest("[data-act]")?.dataset.act;
    if (!name || bar.ariaBusy === "true") return;
    bar.ariaBusy = "true";
    try {
      say((await actions[name]()) ?? "");
    } catch (problem) {
      say(describe(problem));
    }
    bar.ariaBusy = "false";
  });

  function follow() {
    if (bar.ariaBusy === "true") return;
    if (selection().size) actions.forget(); // what was removed before
    outcome.textContent = "";
    show();
    announce(selection().size ? `${counted(selection().size, "photo")} selected` : "Nothing is selected");
  }

  onSelect(follow);
  follow();
}
