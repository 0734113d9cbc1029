"""What the index knows of a photo that it does not find under its URI: whether it has moved, or has a second name."""

import hashlib
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from time import monotonic
from typing import Literal

from indexer.excluded_contents import excluded_contents
from indexer.source_record import read_records
from indexer.source_uri import contains
from retrieval.errors import MissingPhoto, UnreadablePhoto
from retrieval.index import Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import FileStatus, PhotoRef, path_of
from retrieval.stores import store_of

MOUNTS_SECONDS = 60  # for which the recorded mount points are remembered


@dataclass(frozen=True, slots=True)
class Known:
    """An indexed photo with the content of another one, and how the two are related."""

    photo: IndexedPhoto
    relation: Literal["moved", "link", "removed", "excluded"]
    """The other one is its new place, or another name of its file; or it was removed by a job, or by a person."""


class KnownPhotos:
    """Finds indexed photos by content, for the threads of a process.

    A photo is claimed by the first that finds it, so that of two copies only one is taken for its new place.
    """

    def __init__(self, index: VectorIndex, *, heeds_removals: bool = True) -> None:
        self._index = index
        self._heeds_removals = heeds_removals
        self._excluded = set[str]()
        self._excluded_for = ""  # the batch
        self._mounts: list[str] = []
        self._mounts_until = 0.0
        self._claimed: dict[uuid.UUID, str] = {}
        self._lock = threading.Lock()

    def relatives(self, photos: Sequence[tuple[PhotoRef, str]], batch: str) -> dict[str, Known]:
        """Return the indexed photos from which new ones moved, or of which they are another name, by the new URI.

        A photo has moved if its content is indexed, and no longer in its former place. If there are several, the one
        with the most similar path has moved.

        A person's removal applies to the content of a photo; a photo that a sync removed has come back.

        Args:
            photos: new photos, each with its sha256.
            batch: the time of their batch, which claims those that moved.
        """
        found = self._index.with_content([sha256 for _, sha256 in photos])
        gone = self._index.removed().with_content([sha256 for _, sha256 in photos]) if self._has_removed() else {}
        related: dict[str, Known] = {}
        for photo, sha256 in photos:
            if relative := self._relative(photo, _of(found, sha256), batch) or self._removed(_of(gone, sha256), batch):
                related[photo.uri] = relative
        return related

    def excluded(self, photos: Sequence[PhotoRef]) -> frozenset[str]:
        """Return the URIs of those photos that a person has removed from the index, if their files are the same.

        A changed file is read and compared by its content: another photo may be in the place of a removed one.
        """
        if not photos or not self._has_removed():
            return frozenset()
        found = self._index.removed().named([photo.uri for photo in photos])
        return frozenset(photo.uri for photo in photos if photo.uri in found and _is_excluded(photo, found[photo.uri]))

    def is_excluded(self, sha256: str, batch: str) -> bool:
        """Whether a person has removed a photo of this content, perhaps from the index of another model."""
        if not self._heeds_removals:
            return False
        with self._lock:
            if self._excluded_for != batch:
                self._excluded, self._excluded_for = excluded_contents(self._index), batch
        return sha256 in self._excluded

    def release(self, batch: str) -> None:
        """Release the photos of a batch, after it was written or has failed."""
        with self._lock:
            self._claimed = {photo: other for photo, other in self._claimed.items() if other != batch}

    def _has_removed(self) -> bool:
        return self._heeds_removals and self._index.has_removed()

    def _is_unmounted(self, uri: str) -> bool:
        """Whether a photo is in a folder that was a mount point and is none now, so that it may still exist."""
        with self._lock:
            if monotonic() > self._mounts_until:
                self._mounts = [mount for record in read_records(self._index).values() for mount in record.mounts]
                self._mounts_until = monotonic() + MOUNTS_SECONDS
            folders = [path_of(mount) for mount in self._mounts if contains(mount, uri)]
        return any(folder.is_dir() and not os.path.ismount(folder) for folder in folders)

    def _claim(self, photo: uuid.UUID, batch: str) -> bool:
        """Claim a photo for its new place; return False if it has been claimed."""
        with self._lock:
            is_free = photo not in self._claimed
            if is_free:
                self._claimed[photo] = batch
        return is_free

    def _relative(self, photo: PhotoRef, same: Sequence[IndexedPhoto], batch: str) -> Known | None:
        for other in same:
            if is_same_file(photo.uri, other.payload.uri):
                return Known(other, "link")
        for other in sorted(same, key=lambda other: _in_common(photo.uri, other.payload.uri), reverse=True):
            if not self._is_unmounted(other.payload.uri) and is_gone(other.payload) and self._claim(other.id, batch):
                return Known(other, "moved")
        return None

    def _removed(self, same: Sequence[IndexedPhoto], batch: str) -> Known | None:
        for other in same:
            if other.payload.removed_by == "person":
                return Known(other, "excluded")
        for other in same:
            if self._claim(other.id, batch):
                return Known(other, "removed")
        return None


def _of(found: Mapping[uuid.UUID, Payload], sha256: str) -> list[IndexedPhoto]:
    return [IndexedPhoto(photo, payload) for photo, payload in found.items() if payload.sha256 == sha256]


def _is_excluded(photo: PhotoRef, removed: IndexedPhoto) -> bool:
    """Whether a person has removed a photo, and its file has the size and times that it had then."""
    known, status = removed.payload, photo.status
    is_same = status is not None and status.is_sure and status == FileStatus(known.bytes, known.modified_at, known.etag)
    return known.removed_by == "person" and is_same


def is_gone(photo: Payload) -> bool:
    """Whether the file of an indexed photo does not exist, or another file is in its place.

    False if its store can't be reached.
    """
    store = store_of(photo.uri)
    try:
        status = store.status(photo.uri)
        if status == FileStatus(photo.bytes, photo.modified_at, photo.etag):
            return False
        return status.size != photo.bytes or hashlib.sha256(store.read(photo.uri)).hexdigest() != photo.sha256
    except MissingPhoto:
        return True
    except UnreadablePhoto:
        return False


def is_same_file(uri: str, other: str) -> bool:
    """Whether two URIs are names of one file on this machine."""
    with suppress(OSError, UnreadablePhoto):
        return path_of(uri).samefile(path_of(other))
    return False


def _in_common(uri: str, other: str) -> int:
    """Return how many parts the ends of two URIs have in common."""
    pairs = zip(reversed(uri.split("/")), reversed(other.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
