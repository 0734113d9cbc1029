// The form that holds the search: labels, the least score, and photos that the results shall be like or unlike.

const PAUSE = 250; // milliseconds

export function refine({ visit, load }) {
  const form = () => document.getElementById("search");
  const submit = (submitter) => visit(addressOf(form(), submitter), { stay: true });

  document.addEventListener("submit", (event) => {
    if (event.target !== form()) return;
    event.preventDefault();
    submit(event.submitter);
  });

  document.addEventListener("change", ({ target }) => {
    if (target.form === form() && target.type === "checkbox") submit();
  });

  let pause;
  document.addEventListener("input", ({ target }) => {
    if (target.form !== form() || target.type === "checkbox") return;
    clearTimeout(pause);
    if (target.name === "min_score") target.form.querySelector("output").value = Number(target.value) ? Number(target.value).toFixed(2) : "any";
    pause = setTimeout(() => (target.name === "find" ? find(target) : submit()), PAUSE);
  });

  async function find(field) {
    const sought = field.value;
    const page = await load(addressOf(field.form), { aside: true });
    const [labels, found] = [field.closest(".labels"), page?.found.querySelector(".labels")];
    if (!found || !labels.isConnected || field.value !== sought) return;
    while (field.nextSibling) field.nextSibling.remove();
    const again = found.querySelector("[name=find]");
    while (again.nextSibling) labels.append(again.nextSibling);
  }

  // Shift-click marks a photo as like, Alt-click as unlike, as its buttons do.
  document.addEventListener("click", (event) => {
    const mark = event.shiftKey ? "like" : event.altKey ? "unlike" : null;
    const button = mark && event.target.closest(".card")?.parentElement.querySelector(`[name=${mark}]`);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
}

/** The address that the form leads to. */
function addressOf(form, submitter) {
  const address = new URL(form.action);
  for (const [name, value] of new FormData(form, submitter)) {
    if (value && !(name === "min_score" && Number(value) === 0)) address.searchParams.append(name, value);
  }
  return address;
}
