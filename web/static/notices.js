// Messages: visible ones in a notice, those for screen readers in the status line.

export const main = () => document.getElementById("main");

export function warn(message) {
  dismiss();
  main().prepend(typeof message === "string" ? notice(message) : document.adoptNode(message));
  scrollTo(0, 0);
}

/** Remove the notice. */
export function dismiss() {
  document.querySelector("#main > .notice")?.remove();
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
