// The next results come while one scrolls towards them, or at a press of "Show more".

const AHEAD = "600px"; // how far below the screen they are fetched

export function loadMore({ onShow, load, say }) {
  const coming = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && more(document.querySelector("[data-more]")),
    { rootMargin: AHEAD },
  );

  async function more(link, focus = false) {
    if (!link || link.ariaBusy === "true") return;
    link.ariaBusy = "true";
    const page = await load(link.href, { aside: true });
    link.ariaBusy = "false";
    if (!page || !link.isConnected) return;
    const grid = link.closest(".neighbours").querySelector(".grid");
    const cards = [...page.found.querySelectorAll(".grid > li")];
    grid.append(...cards);
    const next = page.found.querySelector("[data-more]");
    if (next) link.href = next.href;
    else link.parentElement.remove();
    if (focus) cards[0]?.querySelector("a").focus({ preventScroll: true });
    say(`${grid.children.length} photos`);
    watch();
  }

  function watch() {
    coming.disconnect(); // an observer reports a link that stays in sight only once
    const link = document.querySelector("[data-more]");
    if (link) coming.observe(link);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-more]");
    if (!link) return;
    event.preventDefault();
    more(link, event.detail === 0); // a press of Enter has no clicks
  }, true);
  onShow(watch);
}
