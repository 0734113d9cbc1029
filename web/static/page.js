// The search page. Links and forms work without scripts; with them, they don't reload the page.

import { searchParts } from "./box.js";
import "./correct.js";
import { openDetails } from "./lightbox.js";
import { loadMore } from "./more.js";
import { announce, warn } from "./notices.js";
import { restorePreview } from "./preview.js";
import { remember } from "./recent.js";
import { refine } from "./refine.js";
import { acceptPhotos } from "./upload.js";
import { load, onReturn, onShow, scrolledTo, visit } from "./visit.js";

onShow(restorePreview);
onShow(remember);
loadMore({ onShow, load, scrolledTo, announce });
refine({ visit, load, onShow });
openDetails({ load, onShow, onReturn });
const search = acceptPhotos({ visit, refuse: warn });
import("./select.js").then(({ selectPhotos }) => selectPhotos({ onShow, visit })); // not needed to show the page
searchParts({ onShow, visit, search, announce });

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const plain = !link || link.dataset.plain !== undefined || link.origin !== location.origin || link.hash;
  if (plain || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  visit(link.href);
});

// The file of an indexed photo may no longer exist. Images can fail before this script runs.
const isPhoto = (element) => element.matches?.(".card img, .frame img, .example img");
const markGone = (image) => {
  image.alt = "This photo can't be shown";
  image.closest("li, .frame, .example").classList.add("gone");
};
document.addEventListener("error", ({ target }) => isPhoto(target) && markGone(target), true);
onShow((main) => [...main.querySelectorAll("img")].filter((image) => isPhoto(image) && image.complete && !image.naturalWidth).forEach(markGone));
