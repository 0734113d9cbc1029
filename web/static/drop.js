// Accepts what is dropped anywhere on a page.

/** Call a function with the DataTransfer of each drop of files; a veil covers the page while they are dragged over it. */
export function acceptDrops(onDrop) {
  const veil = document.querySelector(".dropping");
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.classList.add("shown");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.classList.remove("shown");
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    veil.classList.remove("shown");
    onDrop(event.dataTransfer);
  });
}
