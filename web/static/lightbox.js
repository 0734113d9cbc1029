// A photo's details over the results, instead of on a page of their own.

import { explanation } from "./explain.js";

export function openDetails({ load }) {
  const box = document.querySelector(".lightbox");

  async function open(link) {
    const page = await load(link.href, { aside: true });
    if (!page) return;
    box.replaceChildren(closing(), document.adoptNode(page.found.querySelector(".photo")));
    const card = link.closest("li");
    if (card.querySelector(".score")) {
      box.querySelector("dl").prepend(...comparison(card));
      box.querySelector(".actions").append(...marks(card), ...explanation(box.querySelector(".photo"), card.querySelector("[name=like]").value));
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

function closing() {
  const button = document.createElement("button");
  button.className = "plain close";
  button.ariaLabel = "Close";
  button.innerHTML = '<svg class="icon" aria-hidden="true"><use href="#close"/></svg>';
  return button;
}

/** What the photo's card says of how alike it is. */
function comparison(card) {
  const facts = [
    ["Similarity", card.querySelector(".score").lastChild.textContent],
    ["Distance", card.querySelector(".fine > :last-child").lastChild.textContent.replace("distance ", "")],
  ];
  return facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]);
}

/** The card's buttons, in words. */
function marks(card) {
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
