// Keeps what is visible of the map in the history entry, so that Back and a reload show the same part.

const AFTER = 150; // milliseconds

/** Show what was kept in this history entry, and keep what is visible from now on; returns whether anything was kept. */
export function keepView(view, computedAt) {
  const kept = history.state?.map;
  const isKept = kept?.computedAt === computedAt; // another map has other places
  if (isKept) {
    Object.assign(view.camera, kept.camera);
    view.lit = new Set(kept.lit);
  }
  const keep = () => {
    const { x, y, zoom } = view.camera;
    history.replaceState({ ...history.state, map: { computedAt, camera: { x, y, zoom }, lit: [...view.lit] } }, "");
  };
  let timer;
  view.afterDraw(() => {
    clearTimeout(timer);
    timer = setTimeout(keep, AFTER);
  });
  addEventListener("pagehide", keep);
  return isKept;
}
