"""Writing a batch: what becomes of the points of photos that moved, changed or are new.

Content decides which point a photo is. If another photo is in the place of an indexed one, the job may list that one's
content later, in any batch and on any worker. Until the job ends, its point is therefore kept among the removed photos,
and is put back, with id, vector and label, if its content is found.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from indexer.identity import add_names, listed, merge_links, united, with_free_ids
from indexer.removed_photos import keep_excluded, keep_versions, remove_photos, restore_photos
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import PhotoRef

Change = TypeVar("Change")
Exclusive = Callable[[], AbstractContextManager[object]]
Applied = Callable[[Payload], Payload]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A photo that was embedded."""

    photo: PhotoRef
    point: Point  # as that of a new photo
    former: IndexedPhoto | None  # what the index had in its place; None if the photo is new
    ignores_profile: bool = False  # whether its colour profile can't be used


@dataclass(frozen=True, slots=True)
class Kept:
    """A photo that is indexed, and its new payload; None if that stays as it is."""

    id: uuid.UUID
    payload: Payload | None
    counted: Literal["indexed", "unchanged"]


@dataclass(frozen=True, slots=True)
class Moved:
    """A photo that is indexed, or was removed, in another place."""

    photo: IndexedPhoto  # as it was there
    payload: Payload
    counted: Literal["indexed", "moved"]


@dataclass(frozen=True, slots=True)
class Link:
    """A further name of an indexed photo's file."""

    id: uuid.UUID
    photo: PhotoRef


@dataclass(frozen=True, slots=True)
class Displaced:
    """What the index had in a place where another photo is now, which keeps its own point."""

    photo: IndexedPhoto


@dataclass(frozen=True, slots=True)
class Excluded:
    """A photo that a person has removed from the index of another model; it is kept among the removed photos."""

    point: Point


Written = Embedded | Kept | Moved | Link | Displaced | Excluded


class BatchWriter:
    """Writes batches to an index.

    Args:
        applied: returns a payload with the corrections of persons, and with the values that filters compare.
        exclusive: returns a context in which no other process writes to the index; needed if there are several.
    """

    def __init__(self, index: VectorIndex, applied: Applied, exclusive: Exclusive = nullcontext) -> None:
        self._index = index
        self._applied = applied
        self._exclusive = exclusive

    def write(self, changes: Sequence[Written]) -> None:
        """Write the changes of a batch, and flush the index.

        A process that is killed meanwhile loses no point: each is in the index, or among the removed photos.
        """
        is_plain = all(isinstance(one, Link) or _is_new(one) or _is_unchanged(one) for one in changes)
        with nullcontext() if is_plain else self._exclusive():
            self._write(changes)
            self._index.flush()

    def _write(self, changes: Sequence[Written]) -> None:
        embedded, moved = _only(Embedded, changes), _only(Moved, changes)
        kept = [(one.id, self._applied(one.payload)) for one in _only(Kept, changes) if one.payload is not None]
        displaced = [one.photo for one in _only(Displaced, changes)]
        formers = [one.former for one in embedded if one.former is not None]
        now = self._now([*(one.photo.id for one in moved), *(photo.id for photo in (*displaced, *formers))])
        moved = [replace(one, payload=self._applied(one.payload)) for one in moved]
        found = [one for one in moved if _is_found(one, now)]
        taken = {one.photo.id for one in found}
        changed = [
            one for one in embedded if one.former and _is_in_place(one.former, now) and one.former.id not in taken
        ]
        remove_photos(self._index, [one for one in displaced if one.id not in taken and _is_same(one, now)], "replaced")
        keep_versions(self._index, [version for one in changed if (version := _version(one, now))])
        there = self._now([photo for photo, _ in kept])
        same = [(photo, payload) for photo, payload in kept if _is_same(IndexedPhoto(photo, payload), there)]
        self._index.replace_payloads(united([*((one.photo.id, one.payload) for one in found), *same]))
        new = with_free_ids(self._index, [one.point for one in embedded if one not in changed])
        self._upsert([*new, *map(_changed, changed)])
        keep_excluded(self._index, [one.point for one in _only(Excluded, changes)])
        back = [IndexedPhoto(one.photo.id, one.payload) for one in moved if one not in found]
        restore_photos(self._index, back, self._applied)
        add_names(self._index, [(one.id, one.photo) for one in _only(Link, changes)])
        merge_links(self._index, new)

    def _upsert(self, points: Iterable[Point]) -> None:
        points = list(points)
        payloads = united((point.id, self._applied(point.payload)) for point in points)
        vectors = {point.id: point.vector for point in points}
        self._index.upsert([Point(photo, vectors[photo], payload) for photo, payload in payloads.items()])

    def _now(self, photos: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        return self._index.get(photos) if photos else {}


def _only(kind: type[Change], changes: Iterable[Written]) -> list[Change]:
    return [one for one in changes if isinstance(one, kind)]


def _is_new(change: Written) -> bool:
    return isinstance(change, Embedded) and change.former is None


def _is_unchanged(change: Written) -> bool:
    return isinstance(change, Kept) and change.payload is None


def _is_found(moved: Moved, now: Mapping[uuid.UUID, Payload]) -> bool:
    """Whether the point of a photo that moved is still that of its former place, or has been written already."""
    point = now.get(moved.photo.id)
    places = (moved.photo.payload.uri, moved.payload.uri)
    return point is not None and point.sha256 == moved.payload.sha256 and point.uri in places


def _is_in_place(photo: IndexedPhoto, now: Mapping[uuid.UUID, Payload]) -> bool:
    return photo.id in now and now[photo.id].uri == photo.payload.uri


def _is_same(photo: IndexedPhoto, now: Mapping[uuid.UUID, Payload]) -> bool:
    return _is_in_place(photo, now) and now[photo.id].sha256 == photo.payload.sha256


def _version(one: Embedded, now: Mapping[uuid.UUID, Payload]) -> tuple[IndexedPhoto, Payload] | None:
    """Return what a photo replaces if that has another content and is still in the index, and its own payload."""
    former, payload = one.former, one.point.payload
    if former is None or former.payload.sha256 == payload.sha256 or not _is_same(former, now):
        return None
    return former, payload


def _changed(one: Embedded) -> Point:
    """Return the point of a changed photo, which keeps its id and what its source does not say about it."""
    if one.former is None:
        return one.point
    known = listed(one.photo, replace(one.former.payload, confirmed=False))
    names = ("label", "extra", "also_at", "sources", "ranks")
    payload = replace(one.point.payload, **{name: getattr(known, name) for name in names})
    return replace(one.point, id=one.former.id, payload=payload)
