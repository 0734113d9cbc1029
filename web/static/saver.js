// Saves changes in the background, one after another, and keeps those that fail until they are saved or discarded.

import { describe } from "./errors.js";

/** Saves changes; each has `run`, `text`, `image` and, optionally, `force`, which saves it in spite of a conflict. */
export class Saver {
  #last = Promise.resolve();
  #waiting = 0;
  #failed = new Set();

  constructor(status, list) {
    [this.status, this.list] = [status, list];
    addEventListener("beforeunload", (event) => this.isSaved || event.preventDefault());
  }

  get isSaved() {
    return !this.#waiting && !this.#failed.size;
  }

  /** Save a change when those before it have been saved or have failed; resolves to whether it was saved. */
  save(change) {
    this.#waiting += 1;
    this.#show();
    const saved = this.#last.then(() => this.#run(change, change.run));
    this.#last = saved;
    return saved;
  }

  /** Resolves when no change waits. */
  idle() {
    return this.#last;
  }

  /** Discard a change that failed; returns whether there was one. */
  discard(change) {
    change.row?.remove();
    const had = this.#failed.delete(change);
    this.#show();
    return had;
  }

  async #run(change, run) {
    try {
      await run();
      return true;
    } catch (problem) {
      this.#fail(change, problem);
      return false;
    } finally {
      this.#waiting -= 1;
      this.#show();
    }
  }

  #retry(change, run) {
    this.discard(change);
    this.save({ ...change, run });
  }

  #fail(change, problem) {
    this.#failed.add(change);
    change.row = document.createElement("li");
    const text = Object.assign(document.createElement("p"), { textContent: `${change.text} was not saved. ${describe(problem)}` });
    text.role = "alert";
    const isConflict = problem.status === 412 && change.force;
    const again = isConflict ? ["Save mine", change.force] : ["Try again", change.run];
    change.row.append(
      Object.assign(new Image(48, 48), { src: change.image, alt: "" }),
      text,
      button(again[0], () => this.#retry(change, again[1])),
      button("Discard", () => this.discard(change)),
    );
    this.list.append(change.row);
  }

  #show() {
    this.status.textContent = this.#waiting ? `Saving ${this.#waiting}…` : "";
  }
}

function button(name, action) {
  const made = Object.assign(document.createElement("button"), { className: "button quiet", textContent: name });
  made.addEventListener("click", action);
  return made;
}
