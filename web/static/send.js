// Sends forms with photos: smaller where the network sees no difference, with progress, and so that they can be cancelled.

const SIDE = 1024; // pixels of the longer side
const SHORT_SIDE = 448; // at least, for panoramas
const SMALL = 300_000; // bytes; a smaller file is sent as it is
const QUALITY = 0.92;

/** Post a form; resolves to the status and text of the response, and is rejected if it fails or is aborted. */
export function send(address, body, { signal, onProgress } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not report the progress of an upload
    request.open("POST", address);
    request.setRequestHeader("Accept", "text/html");
    request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
    for (const failure of ["error", "abort", "timeout"]) request.addEventListener(failure, reject);
    request.upload.addEventListener("progress", ({ loaded, total }) => onProgress?.(loaded / total));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** The pixels of a photo, upright; null if the browser cannot decode its format. */
export function decode(file) {
  return createImageBitmap(file).catch(() => null);
}

/** A smaller JPEG of a photo, or the file itself if that would save nothing. */
export async function reduced(file, pixels) {
  if (!pixels || file.size <= SMALL) return file;
  const [short, long] = [pixels.width, pixels.height].sort((one, other) => one - other);
  const scale = Math.max(SIDE / long, SHORT_SIDE / short);
  if (scale >= 1) return file;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height].map((side) => Math.round(side * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // below transparent pixels, as on the server
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(pixels, 0, 0, canvas.width, canvas.height);
  const smaller = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return smaller && smaller.size < file.size ? new File([smaller], "photo.jpg", { type: smaller.type }) : file;
}

/** The SHA-256 of a file in hexadecimal; null on a page without TLS, where browsers don't compute it. */
export async function sha256(file) {
  if (!crypto.subtle) return null;
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
