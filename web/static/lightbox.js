// Shows the details of a photo over the results instead of on a separate page.

import { explanation } from "./explain.js";

export function openDetails({ load }) {
  const box = document.querySelector(".lightbox");

  async function open(link) {
    const page = await load(link.href, { aside: true });
    if (!page) return;
    box.replaceChildren(closeButton(), document.adoptNode(page.found.querySelector(".photo")));
    const card = link.closest("li");
    if (card.dataset.similarity) {
      box.querySelector("dl").prepend(...comparison(card));
      box.querySelector(".actions").append(...exampleButtons(card), ...explanation(box.querySelector(".photo"), card.querySelector("[name=like]").value));
    }
    if (!box.open) box.showModal();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-details]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    open(link);
  }, true);

  box.addEventListener("click", (event) => {
    if (event.target === box || event.target.closest("button:not([data-why]), a:not([data-plain])")) box.close();
  });
}

function closeButton() {
  const button = document.createElement("button");
  button.className = "plain close";
  button.ariaLabel = "Close";
  button.innerHTML = '<svg class="icon" aria-hidden="true"><use href="#close"/></svg>';
  return button;
}

/** Similarity, that of each part, and distance, from the photo's card. */
function comparison(card) {
  const { similarity, kind, look, distance } = card.dataset;
  const facts = [["Similarity", similarity], ["Of kind", kind], ["Of look", look], ["Distance", distance]];
  return facts.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
}

/** The buttons of the card, with text. */
function exampleButtons(card) {
  return [...card.querySelectorAll(".tools button")].map((button) => {
    const mark = button.cloneNode(true);
    mark.className = "button quiet";
    mark.append(button.ariaLabel);
    return mark;
  });
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
