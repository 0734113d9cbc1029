// A photo that is chosen, dropped anywhere or pasted is searched with at once.

export function acceptPhotos({ search, refuse }) {
  const form = () => document.querySelector("form.chooser");

  function take(file) {
    if (!file) return refuse("That was no photo. Drop or paste an image file.");
    const limit = Number(form().dataset.maxBytes);
    if (file.size > limit) return refuse(`This file is larger than the ${limit / 1e6} MB allowed. Choose a smaller photo.`);
    const body = new FormData();
    body.set("image", file);
    return search(form(), body);
  }

  document.addEventListener("change", ({ target }) => {
    if (target.name === "image" && target.files.length) take(target.files[0]);
  });

  document.addEventListener("paste", (event) => {
    const photo = imageIn(event.clipboardData);
    if (photo) {
      event.preventDefault();
      take(photo);
    }
  });

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
    take(imageIn(event.dataTransfer));
  });
}

function imageIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/"));
}
