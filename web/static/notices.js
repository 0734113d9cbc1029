// What the page says: to everybody in a notice, to screen readers in the status line.

export const main = () => document.getElementById("main");

export function warn(what) {
  dismiss();
  main().prepend(typeof what === "string" ? notice(what) : document.adoptNode(what));
  scrollTo(0, 0);
}

/** Take the notice away. */
export function dismiss() {
  document.querySelector("#main > .notice")?.remove();
}

export function say(sentence) {
  document.getElementById("status").textContent = sentence;
}

function notice(sentence) {
  const box = document.createElement("div");
  box.className = "notice";
  box.role = "alert";
  box.textContent = sentence;
  return box;
}
