// What can be done with the selected photos. Each action returns what the bar says after it.

import { change, postForFile } from "./api.js";
import { changeEach } from "./changes.js";
import { describe } from "./errors.js";
import { relabel, removeCards } from "./marks.js";
import { ask } from "./questions.js";
import { clearSelection, select, selection } from "./selection.js";
import { counted } from "./texts.js";

const MISSING = /^(\d+) missing$/; // the comment of a ZIP archive, which is at its end
const LONGEST_COMMENT = 20;

export function actionsOf({ images, labels }, { say, visit }) {
  let removed = []; // the ids of the photos that were removed last
  const ids = () => [...selection().keys()];

  async function copy() {
    await copyText([...selection().values()].join("\n"));
    return `${counted(selection().size, "path")} copied.`;
  }

  async function table(format) {
    say("Preparing the file…");
    const { file, headers } = await postForFile(`${images}/export`, { ids: ids(), format });
    download(file, `photos.${format}`);
    return missing(Number(headers.get("Missing-Photos")), "are no longer indexed");
  }

  async function zip() {
    say("Preparing the archive…");
    const { file } = await postForFile(`${images}/zip`, { ids: ids() });
    download(file, "photos.zip");
    return missing(await missingIn(file), "are missing in the archive; MISSING.txt in it lists them");
  }

  async function label() {
    const form = await ask(".labelling", { count: selection().size, suggestions: labels });
    if (!form) return "";
    const name = form.get("label").trim();
    const { done, problems } = await changeEach(ids(), (id) => change("PATCH", `${images}/${id}`, { label: name }), progress("labelled"));
    relabel(done, name);
    return said(done, problems, `labelled ${name}`);
  }

  async function remove() {
    if (!(await ask(".removing", { count: selection().size }))) return "";
    const { done, problems } = await changeEach(ids(), (id) => change("DELETE", `${images}/${id}`), progress("removed"));
    removed = done;
    removeCards(done);
    select(done.map((id) => [id]), false);
    return said(done, problems, "removed from the index");
  }

  async function undo() {
    const { done, problems } = await changeEach(removed, (id) => change("POST", `${images}/${id}/restore`), progress("restored"));
    removed = [];
    await visit(location.href, { stay: true });
    return said(done, problems, "restored");
  }

  const progress = (verb) => (number, total) => say(`${number.toLocaleString()} of ${counted(total, "photo")} ${verb}…`);

  return {
    copy,
    csv: () => table("csv"),
    json: () => table("json"),
    zip,
    label,
    remove,
    undo,
    clear: clearSelection,
    canUndo: () => removed.length > 0,
    forget: () => (removed = []),
  };
}

/** What was done, and how many photos failed, with the first reason. */
function said(done, problems, what) {
  const success = done.length ? `${counted(done.length, "photo")} ${what}.` : "";
  if (!problems.length) return success;
  return `${success} ${problems.length.toLocaleString()} of ${counted(done.length + problems.length, "photo")} failed: ${describe(problems[0])}`.trim();
}

function missing(number, what) {
  return number ? `Downloaded. ${counted(number, "photo")} ${number === 1 ? what.replace("are", "is").replace("them", "it") : what}.` : "Downloaded.";
}

async function missingIn(archive) {
  const end = await archive.slice(-LONGEST_COMMENT).text();
  return Number(end.split("\0").at(-1).match(MISSING)?.[1] ?? 0);
}

function download(file, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: name });
  link.dataset.plain = "";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Copy a text; on a page without TLS, browsers offer only the older way. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
