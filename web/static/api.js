// Calls of the API. Where the server has keys, it asks for one once before something is changed, and keeps it in this tab.

const KEY = "lookalike:key";

/** The JSON that an address answers with; throws the problem document where it refuses. */
export async function read(address, options) {
  const answer = await fetch(address, options);
  const said = await answer.json();
  if (!answer.ok) throw said;
  return said;
}

/** Post a body as JSON and return the answer; throws the problem document where it is refused. */
export async function ask(address, body) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
    // Without credentials, the browser leaves asking for the key to this page.
    const answer = await fetch(address, { method: "POST", headers, body: JSON.stringify(body ?? {}), credentials: "omit" });
    const said = await answer.json();
    if (answer.ok) return said;
    if (answer.status !== 401) throw said;
    const given = await askForKey(said);
    if (given === null) throw said;
    sessionStorage.setItem(KEY, given);
  }
}

/** A problem as a sentence. */
export function tell(problem) {
  return problem.detail ? `${problem.detail} ${problem.remedy}` : "The server can't be reached. Check that it runs, then try again.";
}

/** Call a function with each state of a job until it ends. */
export function follow(address, heard) {
  const events = new EventSource(address);
  events.addEventListener("message", ({ data }) => {
    const job = JSON.parse(data);
    if (job.state !== "running") events.close();
    heard(job);
  });
  return events;
}

function askForKey(problem) {
  const dialog = document.querySelector("dialog.key");
  const field = dialog.querySelector("input");
  dialog.querySelector("p").textContent = `${problem.detail} It is kept in this tab only.`;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" && field.value ? field.value : null), { once: true });
  });
}
