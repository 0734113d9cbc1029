"""The sources of an index: what is indexed from where."""

import os
from collections import Counter
from dataclasses import dataclass, replace

from indexer.batches import batches
from indexer.removed_photos import remove_photos
from indexer.source_record import read_records, save_records
from indexer.source_uri import is_folder_uri, is_named_by
from retrieval.errors import LookalikeError, NotFound
from retrieval.index import VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import display, file_uri, is_url, path_of
from retrieval.stores import store_of
from retrieval.stores.base import CHAIN

AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A source that has been indexed."""

    uri: str
    photos: int  # that are in the index
    exists: bool  # whether the folder or manifest exists, and can be reached
    indexed_at: str | None  # when it was last indexed completely, ISO 8601 in UTC
    mounts: tuple[str, ...]  # the URIs of its folders that were mount points


@dataclass(frozen=True, slots=True)
class RemovedPhotos:
    """How many photos were removed and can be restored."""

    by_sync: int
    by_person: int


def list_indexed_sources(index: VectorIndex) -> tuple[list[IndexedSource], RemovedPhotos]:
    """Return the sources of an index, sorted by their URI, and the number of removed photos."""
    records = read_records(index)
    photos: Counter[str] = Counter(dict.fromkeys(records, 0))
    for _, payload in index.scroll_payloads():
        photos.update(payload.sources or [source for source in records if is_named_by(source, payload.uri, ())])
    sources = [
        IndexedSource(
            source,
            count,
            _exists(source),
            records[source].indexed_at if source in records else None,
            records[source].mounts if source in records else (),
        )
        for source, count in sorted(photos.items())
    ]
    removed: Counter[str | None] = Counter()
    if index.has_removed():
        removed.update(payload.removed_by for _, payload in index.removed().scroll_payloads())
    return sources, RemovedPhotos(removed["sync"], removed["person"])


def forget_source(index: VectorIndex, source: str, *, keep: bool) -> int:
    """Remove a source, and its photos unless another source names them; return how many were removed.

    Args:
        source: an absolute path or URL, which need not exist any more, or the URI that `list_indexed_sources` returns.
        keep: whether the removed photos can be restored.

    Raises:
        NotFound: nothing has been indexed from it.
    """
    records = read_records(index)
    names = _possible_uris(source)
    removed, left = list[IndexedPhoto](), list[IndexedPhoto]()
    for photo, payload in index.scroll_payloads():
        if any(is_named_by(name, payload.uri, payload.sources) for name in names):
            others = tuple(name for name in payload.sources if name not in names)
            (left if others else removed).append(IndexedPhoto(photo, replace(payload, sources=others)))
    if not removed and not left and not names & records.keys():
        raise NotFound(
            f"Nothing has been indexed from {display(source)}.", "`lookalike sources list` shows the sources."
        )
    for some in batches(left, AT_ONCE):
        index.replace_payloads({photo.id: photo.payload for photo in some})
    if keep:
        remove_photos(index, removed, "sync")
    else:
        index.delete([photo.id for photo in removed])
    save_records(index, {name: record for name, record in records.items() if name not in names})
    index.flush()
    return len(removed)


def _possible_uris(source: str) -> set[str]:
    """Return the URIs that a source may have in the index: that of a folder or of a manifest, which may be gone."""
    uri = source if source.startswith("file:") else store_of(source).canonical(source)
    names = {uri} if is_url(source) or source.startswith("file:") else {uri, file_uri(os.path.realpath(source))}
    return names | {f"{start.rstrip('/')}/{chain}{archive}" for start, chain, archive in map(_parts, names)}


def _parts(uri: str) -> tuple[str, str, str]:
    return uri.partition(CHAIN)


def _exists(source: str) -> bool:
    try:
        if is_folder_uri(source):
            return store_of(source).is_folder(str(path_of(source)) if source.startswith("file:") else source)
        store_of(source).status(source)
    except LookalikeError:
        return False
    return True
