// "You are here": marks the query of the search from which the map was opened.

const ZOOM = 3;

/** Mark the query if it has a place on the map. show: whether to move the map there. */
export function markSearch(stage, view, show) {
  const marker = stage.querySelector(".here");
  const button = stage.querySelector('[data-zoom="here"]');
  const place = marker && view.points.placeOf(marker.dataset.itself, marker.dataset.near.split(" "));
  if (!place) return;
  const [x, y] = place;
  button.hidden = false;
  button.addEventListener("click", () => view.camera.show({ x, y, zoom: Math.max(ZOOM, view.camera.zoom) }));
  if (show) view.camera.show({ x, y, zoom: ZOOM });
  view.afterDraw(() => {
    const { camera } = view;
    const [left, top] = camera.toScreen(x, y);
    marker.hidden = left < 0 || top < 0 || left > camera.width || top > camera.height;
    marker.style.transform = `translate(${left}px, ${top}px) translate(-50%, calc(-100% + 9px))`; // its point is the centre of its dot
  });
}
