// Completes a label while it is typed, as the address bar of a browser does: the rest is selected, so typing replaces it.

/** Complete what is typed in a field with the first label that starts with it. */
export function completeLabels(field, labels) {
  field.addEventListener("input", ({ inputType }) => {
    const typed = field.value;
    if (!typed || inputType?.startsWith("delete")) return;
    const start = typed.toLocaleLowerCase();
    const label = labels().find((one) => one.length > typed.length && one.toLocaleLowerCase().startsWith(start));
    if (!label) return;
    field.value = typed + label.slice(typed.length);
    field.setSelectionRange(typed.length, label.length);
  });
}

/** A label as those that exist are written: “Rose” for “rose” if there is no “rose”. */
export function spelled(text, labels) {
  const name = text.trim();
  return labels.includes(name) ? name : (labels.find((one) => one.toLocaleLowerCase() === name.toLocaleLowerCase()) ?? name);
}
