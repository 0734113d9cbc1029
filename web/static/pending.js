// Shows the photo of a search at once, the progress of its upload, and a button that cancels it.

import { announce } from "./notices.js";

const SIDE = 112; // pixels of the photo's shorter side

/** Show a search until `done` is called; `signal` is aborted if the user cancels it. */
export function showPending() {
  const panel = document.querySelector(".pending");
  const bar = panel.querySelector("progress");
  const cancelling = new AbortController();
  panel.querySelector("canvas").hidden = true;
  panel.querySelector("button").onclick = () => cancelling.abort();
  bar.removeAttribute("value");
  say("Preparing the photo…");
  panel.hidden = false;

  function say(text) {
    if (!cancelling.signal.aborted) panel.querySelector("p").textContent = text;
  }

  return {
    signal: cancelling.signal,
    show: (pixels) => pixels && draw(panel.querySelector("canvas"), pixels),
    onProgress(part) {
      bar.value = part;
      say(part < 1 ? `Uploading: ${Math.round(100 * part)}%` : "Searching…");
      if (part === 1) bar.removeAttribute("value");
    },
    done() {
      panel.hidden = true;
      if (cancelling.signal.aborted) announce("Search cancelled");
    },
  };
}

function draw(canvas, pixels) {
  const scale = SIDE / Math.min(pixels.width, pixels.height);
  [canvas.width, canvas.height] = [pixels.width, pixels.height].map((side) => Math.ceil(side * scale));
  canvas.getContext("2d").drawImage(pixels, 0, 0, canvas.width, canvas.height);
  canvas.hidden = false;
}
