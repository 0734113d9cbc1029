// Requests to the API. If one needs a key, the page asks for it and signs the browser in, which sets a cookie.

export const UNREACHABLE = "The server can't be reached. Check that it is running, then try again.";

/** Fetch JSON; throws the problem document if the status is an error. */
export async function fetchJson(address, options) {
  const response = await request(address, options);
  const document = await documentOf(response);
  if (!response.ok) throw document;
  return document;
}

/** Post JSON and return the JSON of the response; throws the problem document if the status is an error. */
export function post(address, body) {
  return change("POST", address, body);
}

/** Send JSON by another method, like `post`; returns null if the response is empty. */
export async function change(method, address, body, headers = {}) {
  return documentOf(await send(address, { method, ...asJson(body, headers) }));
}

/** Post a form, like `post`. */
export async function postForm(address, body, signal) {
  return documentOf(await send(address, { method: "POST", body, signal }));
}

/** Post JSON and return the file of the response, and its headers. */
export async function postForFile(address, body) {
  const response = await send(address, { method: "POST", ...asJson(body) });
  const file = await response.blob().catch(() => {
    throw { detail: "The connection was lost during the download.", remedy: "Try again." };
  });
  return { file, headers: response.headers };
}

function asJson(body, headers = {}) {
  return { headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body ?? {}) };
}

async function send(address, options) {
  for (;;) {
    const response = await request(address, options);
    if (response.ok) return response;
    const document = await documentOf(response);
    if (needsAnotherKey(response) && (await signIn(document.detail))) continue;
    throw { ...document, retryAfter: Number(response.headers.get("Retry-After")) };
  }
}

function needsAnotherKey({ status, headers }) {
  return status === 401 || Boolean(headers.get("WWW-Authenticate")?.includes("insufficient_scope"));
}

function request(address, options) {
  return fetch(address, options).catch(() => {
    throw { detail: UNREACHABLE };
  });
}

/** The JSON of a response; a response that is none comes from a proxy or from the web server itself. */
async function documentOf(response) {
  if (response.status === 204) return null;
  return response.json().catch(() => {
    throw { detail: `The server returned an error (${response.status}).`, remedy: "Try again later." };
  });
}

/** Call a function with each state of a job until it ends, and another one if the server can't be reached. */
export function follow(address, onChange, onLost = () => {}) {
  const events = new EventSource(address);
  events.addEventListener("error", () => events.readyState === EventSource.CONNECTING && checkServer(address).catch(onLost));
  events.addEventListener("message", ({ data }) => {
    const job = JSON.parse(data);
    if (job.state !== "running") events.close();
    onChange(job);
  });
  return events;
}

/** A stream also ends if there are too many; then the server still responds. */
function checkServer(address) {
  return fetchJson(address.replace(/\/events$/, ""));
}

/** Sign this browser in with the key that the user enters; returns false if the user cancels. */
async function signIn(reason) {
  while (document.querySelector("dialog.key")) {
    const key = await askForKey(reason);
    if (key === null) return false;
    const { login } = document.querySelector("dialog.key").dataset;
    const response = await request(login, { method: "POST", body: new URLSearchParams({ key }), redirect: "manual" });
    if (response.type === "opaqueredirect") return true;
    reason = (await documentOf(response)).detail;
  }
  return false;
}

function askForKey(reason) {
  const dialog = document.querySelector("dialog.key");
  const field = dialog.querySelector("input");
  dialog.querySelector("[role=alert]").textContent = reason;
  dialog.querySelector("button[type=button]").onclick = () => dialog.close("");
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" && field.value ? field.value : null), { once: true });
  });
}
