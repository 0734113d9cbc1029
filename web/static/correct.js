// Saves the label of a photo without reloading the page, also in the details over the results.

import { UNREACHABLE } from "./api.js";
import { announce } from "./notices.js";

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form.correct");
  if (!form) return;
  event.preventDefault();
  const body = new FormData(form, event.submitter);
  form.ariaBusy = "true";
  const page = await send(form.action, body);
  form.ariaBusy = "false";
  const saved = page?.querySelector(".facts");
  if (saved) show(form, saved);
  else refuse(form, page?.querySelector(".problem, main")?.textContent.trim() ?? UNREACHABLE);
});

async function send(address, body) {
  try {
    const response = await fetch(address, { method: "POST", body: new URLSearchParams(body), headers: { Accept: "text/html" } });
    return new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return null;
  }
}

/** Replace the heading and the form by those of the response. */
function show(form, saved) {
  const facts = form.closest(".facts");
  const next = document.adoptNode(saved.querySelector("form.correct"));
  facts.querySelector("h1").replaceWith(document.adoptNode(saved.querySelector("h1")));
  form.replaceWith(next);
  next.querySelector("[name=label]").focus();
  announce(next.querySelector("[role=alert]")?.textContent ?? next.querySelector(".by")?.textContent ?? "Saved.");
}

function refuse(form, message) {
  let place = form.querySelector("[role=alert]");
  if (!place) {
    place = document.createElement("p");
    place.className = "refused";
    place.role = "alert";
    form.prepend(place);
  }
  place.textContent = message;
}
