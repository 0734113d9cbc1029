"""The removal of indexed photos that are gone from their sources, within limits."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from indexer.batches import batches
from indexer.removed_photos import remove_photos
from indexer.source_record import read_records
from indexer.source_uri import contains, is_folder_uri, is_named_by, source_uri
from indexer.sources import list_sources
from retrieval.errors import MissingPhoto, UnreadablePhoto
from retrieval.index import Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.photo_ref import display, is_url, path_of
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import store_of
from retrieval.walk import is_system_name

REMOVED_AT_ONCE = 1000
REMOVABLE = r"\d{1,9}|\d{1,3}(\.\d+)?%"  # what `RemovalLimits.allowed` may be
ALWAYS_ALLOWED = 50  # photos; up to this number, the percentage of `RemovalLimits` does not apply


@dataclass(frozen=True, slots=True)
class RemovalLimits:
    """How many photos of a source a job may remove, and whether they can be restored."""

    percent: float = 5.0  # of the photos of the source, if there are more than `ALWAYS_ALLOWED`
    keep: bool = True  # whether removed photos are kept, to be restored
    allowed: str | None = None  # a number, or a percentage such as "20%", that replaces every other limit

    def permits(self, photos: int, of: int) -> bool:
        """Whether `allowed` is given, and permits to remove this number of photos."""
        if self.allowed is None:
            return False
        number = float(self.allowed.removesuffix("%"))
        return photos <= (number / 100 * of if self.allowed.endswith("%") else number)


DEFAULT_LIMITS = RemovalLimits()


@dataclass(frozen=True, slots=True)
class RefusedRemoval:
    """A source from which nothing was removed, since too much seems to be gone."""

    source: str
    would_remove: int  # photos
    of: int  # photos of the source in the index
    reason: str  # a sentence


@dataclass(frozen=True, slots=True)
class Removal:
    """The result of a removal."""

    removed: int = 0  # photos
    refused: tuple[RefusedRemoval, ...] = ()


class _Source(NamedTuple):
    """A source, and how to list it."""

    name: str
    uri: str
    policy: SourcePolicy
    options: ListingOptions

    def unlisted(self, photos: set[str]) -> set[str]:
        """Return those photos that the source does not list, except those of which that can't be known.

        These are the photos below folders that can't be listed, and all of a manifest of which a line can't be read.
        """
        unlisted, failures = set(photos), list[str]()
        listing = list_sources(
            [self.name], None, lambda failure: failures.append(failure.uri), self.policy, options=self.options
        )
        for photo in listing:
            unlisted.discard(photo.uri)
        if failures and not is_folder_uri(self.uri):
            return set()
        below = tuple(f"{folder}/" for folder in failures)
        return {uri for uri in unlisted if not uri.startswith(below)}


class _Gone(NamedTuple):
    """What a source no longer has."""

    removed: list[IndexedPhoto]  # photos that no other source names, or that do not exist
    left: list[IndexedPhoto]  # photos that exist and that other sources name


def remove_gone(
    index: VectorIndex,
    sources: Sequence[str],
    policy: SourcePolicy = DEFAULT_POLICY,
    options: ListingOptions = DEFAULT_OPTIONS,
    limits: RemovalLimits = DEFAULT_LIMITS,
) -> Removal:
    """Remove the points of photos that these sources no longer have.

    A photo is removed if a source named it and names it no more, and no other source names it; and if it was below the
    folder of a source, or of a manifest, and does not exist. Points below a folder that can't be listed are kept, and
    so are those that another job indexes meanwhile, and those whose file exists and is listed when it is listed again.

    Nothing is removed of a source if a folder that held photos is empty, if a mount point is one no longer, or if more
    photos would be removed than the limits permit.

    Raises:
        BadSource: a source can't be listed, or contains no photo; nothing is removed.
    """
    listed = [_Source(source, source_uri(source), policy, options) for source in sources]
    owned = _owned(index, [source.uri for source in listed])  # first, so that points indexed meanwhile are kept
    gone = [_gone(index, source, owned[source.uri]) for source in listed]
    removed, refused = 0, []
    mounts = [mount for record in read_records(index).values() for mount in record.mounts]
    for source, (photos, left) in zip(listed, gone, strict=True):
        of = len(owned[source.uri])
        reason = _reason(source.uri, photos, of, mounts, limits)
        if reason is not None and not limits.permits(len(photos), of):
            refused.append(RefusedRemoval(source.name, len(photos), of, reason))
            continue
        removed += len(photos)
        if limits.keep:
            remove_photos(index, photos, "sync")
        else:
            index.delete([photo.id for photo in photos])
        _leave(index, source.uri, left)
    index.flush()
    return Removal(removed, tuple(refused))


def _owned(index: VectorIndex, sources: Iterable[str]) -> dict[str, set[str]]:
    """Return the URIs of the photos that each source named, and of those below it or below the folder of a manifest."""
    owned: dict[str, set[str]] = {source: set() for source in sources}
    folders = {source: _folder(source) for source in owned}
    for _, photo in index.scroll_payloads():
        for source, uris in owned.items():
            folder = folders[source]
            if source in photo.sources or (folder is not None and contains(folder, photo.uri)):
                uris.add(photo.uri)
    return owned


def _folder(source: str) -> str | None:
    """Return the URI of the folder of a source; None for a manifest at a URL, which has photos anywhere."""
    if is_folder_uri(source):
        return source
    return None if is_url(source) else f"{source.rpartition('/')[0]}/"


def _gone(index: VectorIndex, source: _Source, owned: set[str]) -> _Gone:
    """Sort out which photos are gone from a source: a folder lists only those that exist, a manifest any."""
    unlisted = source.unlisted(owned)
    removed, existing = list[IndexedPhoto](), list[IndexedPhoto]()
    for uris in batches(unlisted if is_folder_uri(source.uri) else owned, REMOVED_AT_ONCE):
        for photo in index.named(uris).values():
            if _is_missing(photo.payload):
                removed.append(photo)
            elif photo.payload.uri in unlisted and is_named_by(source.uri, photo.payload.uri, photo.payload.sources):
                existing.append(photo)
    if existing:
        again = source.unlisted({photo.payload.uri for photo in existing})
        existing = [photo for photo in existing if photo.payload.uri in again]
    left = [photo for photo in existing if _without(photo, source.uri)]
    return _Gone(removed + [photo for photo in existing if not _without(photo, source.uri)], left)


def _is_missing(photo: Payload) -> bool:
    """Whether no name of a photo's file exists; False if its store can't be reached now."""
    for uri in (photo.uri, *photo.also_at):
        try:
            store_of(uri).status(uri)
        except MissingPhoto:
            continue
        except UnreadablePhoto:
            pass
        return False
    return True


def _reason(
    source: str, photos: Sequence[IndexedPhoto], of: int, mounts: Sequence[str], limits: RemovalLimits
) -> str | None:
    """Return why these photos of a source should not be removed; None if they may be."""
    uris = [photo.payload.uri for photo in photos]
    for mount in mounts:
        if any(contains(mount, uri) for uri in uris) and not os.path.ismount(path_of(mount)):
            return f"{display(path_of(mount))} was a mount point, and is none now."
    for folder, held in _emptied(source, uris).items():
        return f"{display(folder)} held {held:,} of them, and is empty now."
    if len(photos) > ALWAYS_ALLOWED and len(photos) > limits.percent / 100 * of:
        return f"That is more than {limits.percent:g} % of its photos."
    return None


def _emptied(source: str, uris: Iterable[str]) -> Mapping[Path, int]:
    """Return the empty folders that held photos, with the number of these, the largest first.

    A folder within a share that is not mounted does not exist; then its nearest parent is examined.
    """
    top = path_of(_folder(source) or "file:///") if not is_url(source) else None
    found: dict[Path, Path] = {}
    held: dict[Path, int] = {}
    for uri in uris:
        if not uri.startswith("file:"):
            continue
        parent = path_of(uri).parent
        if parent not in found:
            found[parent] = _nearest(parent, top)
        held[found[parent]] = held.get(found[parent], 0) + 1
    return {folder: held[folder] for folder in sorted(held, key=lambda one: -held[one]) if _is_empty(folder)}


def _nearest(folder: Path, top: Path | None) -> Path:
    """Return a folder, or its nearest parent that exists, at most `top`."""
    while folder not in (top, folder.parent) and not folder.is_dir():
        folder = folder.parent
    return folder


def _is_empty(folder: Path) -> bool:
    """Whether a folder exists and has no entry but hidden ones and those of file systems."""
    try:
        with os.scandir(folder) as entries:
            return all(entry.name.startswith(".") or is_system_name(entry.name) for entry in entries)
    except OSError:
        return False


def _leave(index: VectorIndex, source: str, photos: Sequence[IndexedPhoto]) -> None:
    """Record that a source no longer names these photos."""
    for some in batches(photos, REMOVED_AT_ONCE):
        index.replace_payloads({photo.id: replace(photo.payload, sources=_without(photo, source)) for photo in some})


def _without(photo: IndexedPhoto, source: str) -> tuple[str, ...]:
    return tuple(name for name in photo.payload.sources if name != source)
