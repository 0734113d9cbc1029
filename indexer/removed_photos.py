"""Removed photos: kept outside the index, so that they can be restored without embedding them again.

A photo that a sync removed comes back when a job finds its content again, until it is forgotten after
`LOOKALIKE_KEEP_REMOVED_DAYS`. A photo that a person removed is left out of every job until a person restores it.
"""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from indexer.batches import batches
from indexer.identity import with_free_ids
from retrieval.errors import NotFound
from retrieval.index import Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.payload import RemovedBy

AT_ONCE = 1000


def remove_photos(index: VectorIndex, photos: Sequence[IndexedPhoto], by: RemovedBy) -> None:
    """Move photos from the index to its removed ones; a process that is killed meanwhile leaves them in the index."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    removed = index.removed()
    for some in batches(photos, AT_ONCE):
        vectors = index.vectors([photo.id for photo in some])
        removed.upsert(
            [
                Point(photo.id, vectors[photo.id], replace(photo.payload, removed_at=time, removed_by=by))
                for photo in some
                if photo.id in vectors
            ]
        )
        removed.flush()
        index.delete([photo.id for photo in some])
    index.flush()


def restore_photo(index: VectorIndex, photo: uuid.UUID) -> IndexedPhoto:
    """Move a removed photo back to the index; return it with its id, which is another one if that is taken.

    Raises `NotFound` if there is no removed photo with this id.
    """
    found = index.removed().get([photo]) if index.has_removed() else {}
    if photo not in found:
        raise NotFound(f"There is no removed photo {photo}.", "`lookalike sources list` shows how many there are.")
    (restored,) = restore_photos(index, [IndexedPhoto(photo, found[photo])])
    return restored


def restore_photos(index: VectorIndex, photos: Sequence[IndexedPhoto]) -> list[IndexedPhoto]:
    """Move removed photos back to the index, with these payloads."""
    removed = index.removed()
    vectors = removed.vectors([photo.id for photo in photos])
    points = [
        Point(photo.id, vectors[photo.id], replace(photo.payload, removed_at=None, removed_by=None))
        for photo in photos
        if photo.id in vectors
    ]
    points = with_free_ids(index, points)
    index.upsert(points)
    index.flush()  # first: a power failure may keep a deletion and lose what was written before it
    removed.delete([photo.id for photo in photos])
    return [IndexedPhoto(point.id, point.payload) for point in points]


def forget_removed(index: VectorIndex, days: float) -> int:
    """Forget the photos that syncs removed more than some days ago; return their number."""
    if not index.has_removed():
        return 0
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    removed = index.removed()
    old = [
        photo
        for photo, payload in removed.scroll_payloads()
        if payload.removed_by == "sync" and (payload.removed_at or "") <= before
    ]
    for some in batches(old, AT_ONCE):
        removed.delete(some)
    removed.flush()
    return len(old)
