// Requests to the API. If the server requires a key to write, the page asks for it once and stores it in this tab.

const KEY = "lookalike:key";

/** Fetch JSON; throws the problem document if the status is an error. */
export async function fetchJson(address, options) {
  const response = await fetch(address, options);
  const document = await response.json();
  if (!response.ok) throw document;
  return document;
}

/** Post JSON and return the JSON of the response; throws the problem document if the status is an error. */
export async function post(address, body) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
    // With credentials, the browser would show its own dialog for the key.
    const response = await fetch(address, { method: "POST", headers, body: JSON.stringify(body ?? {}), credentials: "omit" });
    const document = await response.json();
    if (response.ok) return document;
    if (response.status !== 401) throw document;
    const entered = await askForKey(document);
    if (entered === null) throw document;
    sessionStorage.setItem(KEY, entered);
  }
}

/** The text of a problem document, or of a failed request. */
export function describe(problem) {
  return problem.detail ? `${problem.detail} ${problem.remedy}` : "The server can't be reached. Check that it is running, then try again.";
}

/** Call a function with each state of a job until it ends. */
export function follow(address, onChange) {
  const events = new EventSource(address);
  events.addEventListener("message", ({ data }) => {
    const job = JSON.parse(data);
    if (job.state !== "running") events.close();
    onChange(job);
  });
  return events;
}

function askForKey(problem) {
  const dialog = document.querySelector("dialog.key");
  const field = dialog.querySelector("input");
  dialog.querySelector("p").textContent = `${problem.detail} It is stored in this tab only.`;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" && field.value ? field.value : null), { once: true });
  });
}
