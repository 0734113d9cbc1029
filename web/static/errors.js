// What pages say about errors of the API: sentences for people who use the page, without commands, settings and headers.

const TECHNICAL = /LOOKALIKE_|\/api\/|(^|\s)--\w|`|\bheader\b|server's log/;
const SENTENCES = /(?<=[.!?])\s+(?=[A-Z`])/;

// Details instead of those that describe HTTP, or fields of requests.
const DETAILS = { "invalid-request": "What was entered can't be used.", 500: "The server could not answer because of an error." };
const REMEDIES = {
  400: "Reload the page, then try again.",
  401: "Sign in with a key of this server.",
  403: "Ask the administrator of this server.",
  404: "Reload the page, then try again.",
  409: "Try again later.",
  422: "Change what was entered, or ask the administrator of this server.",
  429: "Wait a minute, then try again.",
  500: "Try again; if it happens again, tell the administrator of this server.",
  503: "Try again in a minute.",
};

/** The text of a problem document, or of an error of the page itself, which is reported to the browser's console. */
export function describe(problem) {
  if (!problem.detail) {
    reportError(problem);
    return "Something went wrong on this page. Reload it, then try again.";
  }
  const detail = DETAILS[kindOf(problem)] ?? DETAILS[problem.status] ?? plain(problem.detail);
  return [detail, plain(problem.remedy ?? "") || REMEDIES[problem.status]].filter(Boolean).join(" ");
}

/** The last part of the type of a problem document. */
export function kindOf({ type = "" }) {
  return type.split("#").at(-1);
}

/** A text without the sentences that name commands or settings, and without settings in brackets. */
export function plain(text) {
  const sentences = text.replace(/ \(LOOKALIKE_\w+\)/g, "").split(SENTENCES);
  return sentences.filter((sentence) => !TECHNICAL.test(sentence)).join(" ");
}
