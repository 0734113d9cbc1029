// An item in the list of jobs or models.

export function fill(item, { title, pill, note, error }) {
  item.querySelector("h2").textContent = title;
  item.querySelector(".when").textContent = note;
  const mark = item.querySelector(".pill");
  mark.hidden = !pill;
  if (pill) [mark.textContent, mark.className] = [pill[0], `pill ${pill[1] ?? ""}`];
  const wrong = item.querySelector(".error");
  wrong.hidden = !error;
  wrong.textContent = error;
}

/** Show numbers with their names. */
export function showNumbers(item, numbers) {
  item.querySelector(".numbers").replaceChildren(...Object.entries(numbers).map(([name, number]) => {
    const pair = document.createElement("div");
    pair.append(
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: typeof number === "number" ? number.toLocaleString() : number }),
    );
    return pair;
  }));
}

export function reveal(item, selector, shown) {
  const button = item.querySelector(selector);
  if (button) button.hidden = !shown;
}
