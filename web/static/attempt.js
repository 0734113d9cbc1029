// Runs what a button does, and reports what goes wrong.

import { describe } from "./errors.js";
import { dismiss, warn } from "./notices.js";

/** Await an action; the last notice is dismissed before, and an error becomes a notice. */
export async function attempt(action) {
  try {
    dismiss();
    await action();
  } catch (problem) {
    warn(describe(problem));
  }
}
