// The selected photos. They stay selected if the same photos are sorted, continued or reloaded, until another query.

const KEPT = "selection"; // its key in the storage of the tab
const SAME_QUERY = ["sort", "offset"]; // parameters that change only the order or the page

const photos = new Map(); // id → path, in the order in which they were selected
const watchers = [];
let query = null;

/** The selected photos: a path for each id. */
export function selection() {
  return photos;
}

/** Call a function after each change. */
export function onSelect(watcher) {
  watchers.push(watcher);
}

/** Select photos, pairs of id and path, or no longer. */
export function select(changed, on = true) {
  for (const [id, path] of changed) on ? photos.set(id, path) : photos.delete(id);
  keep();
  watchers.forEach((watcher) => watcher());
}

export function clearSelection() {
  select([...photos], false);
}

/** Say which page is shown: each query has a separate selection. */
export function selectFor(address) {
  const shown = queryOf(address);
  if (shown === query) return watchers.forEach((watcher) => watcher());
  query = shown;
  photos.clear();
  select(kept());
}

function queryOf(address) {
  const { pathname, searchParams } = new URL(address);
  const fields = [...searchParams].filter(([name, value]) => value && !SAME_QUERY.includes(name));
  return `${pathname}?${new URLSearchParams(fields.sort())}`;
}

function kept() {
  const { of, chosen } = JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  return of === query ? chosen : [];
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ of: query, chosen: [...photos] }));
  } catch {
    // The storage is full: a reload clears the selection.
  }
}
