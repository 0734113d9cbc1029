// Messages: visible ones in a notice, those for screen readers in the status line.

export const main = () => document.getElementById("main");

/** Show a notice at the top of the page, or of the dialog that covers it. */
export function warn(message) {
  dismiss();
  const place = document.querySelector("dialog[open]") ?? main();
  place.prepend(typeof message === "string" ? notice(message) : document.adoptNode(message));
  place.querySelector(".notice").scrollIntoView({ block: "nearest" });
}

/** Remove the notice. */
export function dismiss() {
  document.querySelector(":is(#main, dialog) > .notice")?.remove();
}

export function announce(message) {
  document.getElementById("status").textContent = message;
}

function notice(message) {
  const box = document.createElement("div");
  box.className = "notice";
  box.role = "alert";
  box.textContent = message;
  return box;
}
