"""Removed photos: kept outside the index, so that they can be restored without embedding them again.

A photo that a sync removed comes back when a job finds its content again, until it is forgotten after
`LOOKALIKE_KEEP_REMOVED_DAYS`. A photo that a person removed is left out of every job until a person restores it. A
photo that another one replaced in its place is kept until the job ends, which may find it in another place.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from indexer.batches import batches
from indexer.identity import with_free_ids
from indexer.index_columns import IndexColumns
from retrieval.errors import IndexWriteFailed, NotFound
from retrieval.index import Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.payload import Payload, RemovedBy
from retrieval.photo_ref import display_uri, photo_id

AT_ONCE = 1000


def remove_photos(index: VectorIndex, photos: Sequence[IndexedPhoto], by: RemovedBy) -> None:
    """Move photos from the index to its removed ones; a process that is killed meanwhile leaves them in the index."""
    if not photos:
        return
    for some in batches(photos, AT_ONCE):
        _keep(index, some, by)
        index.delete([photo.id for photo in some])
    index.flush()


def keep_versions(index: VectorIndex, versions: Sequence[tuple[IndexedPhoto, Payload]]) -> None:
    """Keep photos whose content is about to be replaced in the index, each with the payload of what replaces it.

    If a job finds the former content in another place, that is the photo, and what replaced it is another one.
    """
    if versions:
        _keep(index, [_with_successor(photo, successor) for photo, successor in versions], "replaced")


def keep_excluded(index: VectorIndex, points: Sequence[Point]) -> None:
    """Add photos to those that persons removed."""
    if not points:
        return
    time = datetime.now(UTC).isoformat(timespec="seconds")
    index.removed().upsert(
        [replace(point, payload=replace(point.payload, removed_at=time, removed_by="person")) for point in points]
    )
    index.removed().flush()


def photos_removed_by_person(index: VectorIndex) -> list[IndexedPhoto]:
    """Return the photos that persons removed, the last one first."""
    if not index.has_removed():
        return []
    found = (IndexedPhoto(photo, payload) for photo, payload in index.removed().scroll_payloads())
    removed = [photo for photo in found if photo.payload.removed_by == "person"]
    return sorted(removed, key=lambda photo: photo.payload.removed_at or "", reverse=True)


def restore_photo(index: VectorIndex, photo: uuid.UUID) -> IndexedPhoto:
    """Move a removed photo back to the index; return it with its id, which is another one if that is taken.

    Raises `NotFound` if there is no removed photo with this id.
    """
    found = index.removed().get([photo]) if index.has_removed() else {}
    if photo not in found:
        raise NotFound(f"There is no removed photo {photo}.", "`lookalike sources list` shows how many there are.")
    (restored,) = restore_photos(index, [IndexedPhoto(photo, found[photo])])
    return restored


def restore_photos(
    index: VectorIndex, photos: Sequence[IndexedPhoto], applied: Callable[[Payload], Payload] | None = None
) -> list[IndexedPhoto]:
    """Move removed photos back to the index, with these payloads.

    A photo whose content is in the index, since another process restored it, becomes a copy of that one.

    Args:
        applied: completes the payloads of photos that replaced these; None: with the values that filters compare.
    """
    if not photos:
        return []
    removed = index.removed()
    places = _kept_places(removed, photos)
    vectors, known = removed.vectors([*places.values()]), removed.get([*places.values()])
    replaced = [IndexedPhoto(photo.id, known[places[photo.id]]) for photo in photos if photo.id in places]
    _make_way(index, replaced, applied)
    points = []
    for photo in photos:
        payload = replace(photo.payload, removed_at=None, removed_by=None, successor={}, ranks={})
        vector = vectors.get(places.get(photo.id, photo.id))
        points.append(_copy(index, payload) if vector is None else Point(photo.id, vector, payload))
    points = with_free_ids(index, points)
    index.upsert(points)
    index.flush()  # first: a power failure may keep a deletion and lose what was written before it
    removed.delete([*places.values()])
    return [IndexedPhoto(point.id, point.payload) for point in points]


def forget_removed(index: VectorIndex, days: float) -> int:
    """Forget the photos that syncs removed more than some days ago; return their number.

    Call it at the end of a job: former versions of changed photos are forgotten, and photos that others replaced count
    as removed by a sync.
    """
    if not index.has_removed():
        return 0
    _settle_replaced(index)
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


def _keep(index: VectorIndex, photos: Sequence[IndexedPhoto], by: RemovedBy) -> None:
    """Copy photos from the index to its removed ones; a removed photo that has the id of one of them gets another."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    removed = index.removed()
    vectors = index.vectors(ids := [photo.id for photo in photos])
    others, other_vectors = removed.get(ids), removed.vectors(ids)
    points = [
        Point(photo_id(others[photo.id].uri, others[photo.id].sha256), other_vectors[photo.id], others[photo.id])
        for photo in photos
        if photo.id in others and others[photo.id].sha256 != photo.payload.sha256
    ]
    points += [
        Point(photo.id, vectors[photo.id], replace(photo.payload, removed_at=time, removed_by=by))
        for photo in photos
        if photo.id in vectors
    ]
    removed.upsert(points)
    removed.flush()


def _with_successor(photo: IndexedPhoto, successor: Payload) -> IndexedPhoto:
    named = {"label": successor.label, "extra": successor.extra}
    return replace(photo, payload=replace(photo.payload, successor=named))


def _kept_places(removed: VectorIndex, photos: Sequence[IndexedPhoto]) -> dict[uuid.UUID, uuid.UUID]:
    """Return the ids under which the contents of these photos are kept, by their own ids.

    A photo that was removed after another one of the same id has taken its place there.
    """
    by_id = removed.get([photo.id for photo in photos])
    kept = {one.id: one.id for one in photos if one.id in by_id and by_id[one.id].sha256 == one.payload.sha256}
    rest = [photo for photo in photos if photo.id not in kept]
    by_content = {
        one.sha256: photo for photo, one in removed.with_content([one.payload.sha256 for one in rest]).items()
    }
    return kept | {one.id: by_content[one.payload.sha256] for one in rest if one.payload.sha256 in by_content}


def _copy(index: VectorIndex, payload: Payload) -> Point:
    """Return a point for a photo with the vector of another one of the same content, or of the photo itself."""
    found = index.with_content([payload.sha256])
    for photo in sorted(found, key=lambda photo: found[photo].uri != payload.uri):
        for vector in index.vectors([photo]).values():
            is_itself = found[photo].uri == payload.uri
            return Point(photo if is_itself else photo_id(payload.uri), vector, payload)
    raise IndexWriteFailed(
        f"{display_uri(payload.uri)} was deleted from the removed photos while it was restored.",
        "Run the same command again.",
    )


def _make_way(index: VectorIndex, photos: Sequence[IndexedPhoto], applied: Callable[[Payload], Payload] | None) -> None:
    """Give other ids to the photos that replaced these, and the labels of their sources."""
    replaced = {photo.id: photo.payload for photo in photos if photo.payload.removed_by == "replaced"}
    found = index.get([*replaced]) if replaced else {}
    vectors = index.vectors([*found])
    successors = {photo: one for photo, one in found.items() if one.sha256 != replaced[photo].sha256}
    own = {photo: replace(one, **replaced[photo].successor, also_at=()) for photo, one in successors.items()}
    applied = applied or IndexColumns(index).applied
    points = [Point(photo_id(one.uri, one.sha256), vectors[photo], applied(one)) for photo, one in own.items()]
    index.upsert(points)
    index.delete([*successors])


def _settle_replaced(index: VectorIndex) -> None:
    """Forget the former versions of changed photos; what else was replaced has been removed by the job."""
    removed = index.removed()
    replaced = {photo: one for photo, one in removed.scroll_payloads() if one.removed_by == "replaced"}
    for some in batches(replaced, AT_ONCE):
        changed = index.get(some)
        removed.delete([*changed])
        removed.replace_payloads(
            {photo: replace(replaced[photo], removed_by="sync") for photo in some if photo not in changed}
        )
