// Loads further results when the user scrolls towards them or presses "Show more".

const AHEAD = "600px"; // below the viewport

/** Add a band of results to those that are shown, or to the same band if it is there. */
function append(band, results) {
  const shown = results.querySelector(`[data-band="${band.dataset.band}"]`);
  if (shown) shown.querySelector(".grid").append(...band.querySelectorAll(".grid > li"));
  else results.querySelector(".more").before(band);
}

export function loadMore({ onShow, load, announce }) {
  const observer = new IntersectionObserver(
    (entries) => entries.some((entry) => entry.isIntersecting) && more(document.querySelector("[data-more]")),
    { rootMargin: AHEAD },
  );

  async function more(link, focus = false) {
    if (!link || link.ariaBusy === "true") return;
    link.ariaBusy = "true";
    const page = await load(link.href, { aside: true });
    link.ariaBusy = "false";
    if (!page || !link.isConnected) return;
    const results = link.closest(".neighbours");
    const cards = [...page.found.querySelectorAll(".grid > li")];
    page.found.querySelectorAll(".band").forEach((band) => append(band, results));
    const next = page.found.querySelector("[data-more]");
    if (next) link.href = next.href;
    else link.parentElement.remove();
    if (focus) cards[0]?.querySelector("a").focus({ preventScroll: true });
    announce(`${results.querySelectorAll(".card").length} photos`);
    watch();
  }

  function watch() {
    observer.disconnect(); // an observer reports a link that stays visible only once
    const link = document.querySelector("[data-more]");
    if (link) observer.observe(link);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-more]");
    if (!link) return;
    event.preventDefault();
    more(link, event.detail === 0); // 0: by the Enter key
  }, true);
  onShow(watch);
}
