"""Duplicates in an index: one file under several names, or files that the model can't tell apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexer.gallery import Gallery
from retrieval.top_k import top_k_of_each

MIN_SCORE = 0.999
NEIGHBOURS = 10  # compared for each photo


@dataclass(frozen=True, slots=True)
class Identical:
    """A file, by its sha256, and its URIs."""

    sha256: str
    photos: list[str]


@dataclass(frozen=True, slots=True)
class NearIdentical:
    """Two different files and their cosine similarity."""

    score: float
    photos: tuple[str, str]
    labels: tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The duplicates among a number of photos, the largest groups and the highest scores first."""

    photos: int
    identical: list[Identical]
    near_identical: list[NearIdentical]


def find_duplicates(gallery: Gallery, min_score: float = MIN_SCORE) -> Duplicates:
    """Find the photos of a gallery with the same content, or with nearly the same embedding.

    Two different files count as near-identical from the cosine similarity `min_score`. It depends on the training of
    the model: scores within a class are high if only classes were trained.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for position, photo in enumerate(gallery.photos):
        copies[photo.sha256].append(position)
    identical = [
        Identical(sha256, sorted(gallery.photos[position].uri for position in positions))
        for sha256, positions in copies.items()
        if len(positions) > 1
    ]
    return Duplicates(
        photos=len(gallery.photos),
        identical=sorted(identical, key=lambda group: (-len(group.photos), group.photos)),
        near_identical=_near_identical(gallery, copies, min_score),
    )


def _near_identical(gallery: Gallery, copies: Mapping[str, Sequence[int]], min_score: float) -> list[NearIdentical]:
    """Find pairs of different files; each file is represented by the first of its photos."""
    first = [positions[0] for positions in copies.values()]
    photos = [gallery.photos[position] for position in first]
    scores, neighbours = top_k_of_each(gallery.embeddings[first], NEIGHBOURS)
    close = {
        (min(photo, int(neighbour)), max(photo, int(neighbour))): float(score)
        for photo in (scores[:, :1] >= min_score).nonzero()[0].tolist()
        for score, neighbour in zip(scores[photo], neighbours[photo], strict=True)
        if score >= min_score
    }
    pairs = [
        NearIdentical(round(score, 6), (photos[one].uri, photos[other].uri), (photos[one].label, photos[other].label))
        for (one, other), score in close.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.score, pair.photos))
