// The search form: label filter, weight of look, minimum similarity, positive and negative examples.

const DELAY = 250; // milliseconds after the last input

export function refine({ visit, load, onShow }) {
  const form = () => document.getElementById("search");
  // A photo that is marked is no longer a result.
  const submit = (submitter, by) => visit(addressOf(form(), submitter), { stay: true, focus: focusAfter(submitter?.name), by });

  document.addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    event.preventDefault();
    submit(event.submitter);
  });

  document.addEventListener("change", ({ target }) => {
    if (target.form === form() && (target.type === "checkbox" || target.tagName === "SELECT")) submit();
  });

  let timer;
  onShow(() => clearTimeout(timer));
  document.addEventListener("input", ({ target }) => {
    if (target.form !== form() || target.type === "checkbox" || target.tagName === "SELECT" || target.name === "text") return;
    clearTimeout(timer);
    if (target.name === "min_score") target.parentElement.querySelector("output").value = Number(target.value) ? Number(target.value).toFixed(2) : "any";
    if (target.name.startsWith("weight.")) target.nextElementSibling.value = target.value;
    timer = setTimeout(() => (target.name === "find" ? find(target) : submit(null, target.name)), DELAY);
  });

  async function find(field) {
    const text = field.value;
    const page = await load(addressOf(field.form), { aside: true });
    const [labels, found] = [field.closest(".labels"), page?.found.querySelector(".labels")];
    if (!found || !labels.isConnected || field.value !== text) return;
    while (field.nextSibling) field.nextSibling.remove();
    const fresh = found.querySelector("[name=find]");
    while (fresh.nextSibling) labels.append(fresh.nextSibling);
  }

  // Shift-click marks a photo as a positive example, Alt-click as a negative one, like its buttons.
  document.addEventListener("click", (event) => {
    const mark = event.shiftKey ? "like" : event.altKey ? "unlike" : null;
    const button = mark && event.target.closest(".card")?.parentElement.querySelector(`[name=${mark}]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
}

/** Selects what gets the focus after a button: the first result after one of a result, the text box after one of a term. */
function focusAfter(name) {
  if (!name) return null;
  return name === "without" ? ".words [type=search]" : ".neighbours .card";
}

/** The URL of the form's search. */
export function addressOf(form, submitter) {
  const address = new URL(form.action);
  for (const [name, value] of new FormData(form, submitter)) {
    const standard = form.elements[name]?.dataset?.default;
    if (value && !(standard && Number(value) === Number(standard))) address.searchParams.append(name, value);
  }
  return address;
}
