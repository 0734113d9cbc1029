// How far the training of a model is, and how the model compares with the current one, in words.

/** A sentence that compares a trained model with the current one on the same photos; "" if there is nothing to compare. */
export function comparisonOf({ comparison }) {
  if (!comparison) return "";
  const { after, before, held_out: isHeldOut } = comparison;
  const photos = `${after.queries.toLocaleString()} labelled photos${isHeldOut ? " that neither model was trained on" : ""}`;
  const against = before ? `, the current model with ${measured(before)}` : "";
  return `On ${photos}, the new model finds photos of the same label with ${measured(after)}${against}.`;
}

/** The epoch and step of a training; "" before its first step. */
export function progressOf({ progress }) {
  if (!progress) return "";
  const { epoch, epochs, step, steps, map_at_r: value } = progress;
  const reached = value === null ? "" : `, MAP@R ${value.toFixed(3)}`;
  return `Epoch ${epoch} of at most ${epochs}, step ${step.toLocaleString()} of ${steps.toLocaleString()}${reached}`;
}

/** Show the steps of a training in a progress bar, or that their number is not known. */
export function showSteps(bar, { progress }, isRunning) {
  bar.hidden = !isRunning;
  if (!progress) return bar.removeAttribute("value");
  [bar.max, bar.value] = [progress.steps, progress.step];
}

function measured({ recall_at_1: recall, map_at_r: precision }) {
  return `recall@1 ${recall.toFixed(3)} and MAP@R ${precision.toFixed(3)}`;
}
