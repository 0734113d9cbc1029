"""Which point a photo is: what a photo keeps when it moves, the ids of new photos, and the names of one file."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

from indexer.known_photos import is_same_file
from indexer.source_uri import is_folder_uri
from retrieval.index import Payload, Point, VectorIndex
from retrieval.labels import normalized
from retrieval.photo_ref import PhotoRef, path_of, photo_id


def listed(photo: PhotoRef, known: Payload) -> Payload:
    """Return the payload of an indexed photo with what its source says about it now."""
    return replace(described(photo, known), sources=_with_source(known, photo.source))


def described(photo: PhotoRef, known: Payload) -> Payload:
    """Return the payload of an indexed photo with the label and columns of its source, or those that it keeps.

    A source does not replace a label that a person has confirmed. The names of folders do not replace the label of a
    photo, and a folder does not remove the columns of a manifest: the photo may be listed from another source than the
    one that gave them.
    """
    keeps = known.confirmed or (photo.label_is_default and known.label is not None)
    is_in_folder = photo.source is not None and is_folder_uri(photo.source)
    extra = known.extra if is_in_folder and not photo.extra else photo.extra
    return replace(known, label=normalized(known.label) if keeps else photo.label, extra=extra)


def keeps_other_label(photo: PhotoRef, known: Payload) -> bool:
    """Whether an indexed photo keeps a label that differs from the one that its source gives it.

    A link gives no label to the photo that it names.
    """
    return photo.uri == known.uri and photo.label is not None and described(photo, known).label != photo.label


def moved(photo: PhotoRef, new: Payload, known: Payload) -> Payload:
    """Return the payload of a photo that moved, from the one that it would get if it were new."""
    also_at = tuple(uri for uri in known.also_at if uri != photo.uri)
    kept = described(photo, known)
    return replace(
        new,
        label=kept.label,
        confirmed=kept.confirmed,
        extra=kept.extra,
        width=known.width,
        height=known.height,
        also_at=also_at,
        decoder=known.decoder,
    )


def with_free_ids(index: VectorIndex, points: Sequence[Point]) -> list[Point]:
    """Return new points, each with an id that no other photo has: that of a photo that moved is not free."""
    taken = index.get([point.id for point in points])
    return [
        replace(point, id=photo_id(point.payload.uri, point.payload.sha256))
        if point.id in taken and taken[point.id].uri != point.payload.uri
        else point
        for point in points
    ]


def united(payloads: Iterable[tuple[uuid.UUID, Payload]]) -> dict[uuid.UUID, Payload]:
    """Return the last payload of each point, with the sources of all."""
    result: dict[uuid.UUID, Payload] = {}
    for photo, payload in payloads:
        sources = dict.fromkeys((*result[photo].sources, *payload.sources)) if photo in result else payload.sources
        result[photo] = replace(payload, sources=tuple(sources))
    return result


def add_names(index: VectorIndex, links: Sequence[tuple[uuid.UUID, PhotoRef]]) -> None:
    """Record further names of the files of indexed photos, and the sources that gave them."""
    if not links:
        return
    before = index.get([photo for photo, _ in links])
    after = dict(before)
    for photo, name in links:
        if known := after.get(photo):
            names = dict.fromkeys((*known.also_at, name.uri))
            names.pop(known.uri, None)
            after[photo] = replace(known, also_at=tuple(names), sources=_with_source(known, name.source))
    index.replace_payloads({photo: payload for photo, payload in after.items() if payload != before[photo]})


def merge_links(index: VectorIndex, points: Sequence[Point]) -> None:
    """Make one point of those points that were written for several names of one file; the first of them is kept.

    Names that are indexed at the same time can't find each other before both are written.
    """
    if not points:
        return
    found = index.with_content([point.payload.sha256 for point in points])
    order = {point.id: number for number, point in enumerate(points)}

    def key(photo: uuid.UUID) -> tuple[str, bool, int, str]:
        payload = found[photo]
        return payload.indexed_at, path_of(payload.uri).is_symlink(), order.get(photo, -1), payload.uri

    links = []
    for point in points:
        mine = found.get(point.id)
        names = [
            photo
            for photo, payload in found.items()
            if mine is not None and payload.sha256 == mine.sha256 and is_same_file(payload.uri, mine.uri)
        ]
        if len(names) > 1 and (first := min(names, key=key)) != point.id:
            source = point.payload.sources[0] if point.payload.sources else None
            links.append((point.id, first, PhotoRef(point.payload.uri, source=source)))
    add_names(index, [(first, name) for _, first, name in links])
    index.delete([photo for photo, _, _ in links])


def _with_source(known: Payload, source: str | None) -> tuple[str, ...]:
    """Return the sources of a photo with another one; those of a photo that an older version indexed are not known."""
    if source is None or source in known.sources or (not known.sources and is_folder_uri(source)):
        return known.sources
    return (*known.sources, source)
