"""Duplicates in an index: one file under several names, and different files that look the same."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from indexer.gallery import Gallery
from retrieval.analysis.calibration import ScoreThresholds
from retrieval.bundle_format import CalibrationData
from retrieval.parts import LOOK
from retrieval.top_k import Embeddings, top_k_of_each

NEIGHBOURS = 10  # compared for each photo
MIN_SCORE = 0.999  # of near-identical photos, if the model is not calibrated


@dataclass(frozen=True, slots=True)
class Identical:
    """A file, by its sha256, and its URIs."""

    sha256: str
    photos: list[str]


@dataclass(frozen=True, slots=True)
class NearIdentical:
    """Different files that look the same, and the lowest cosine similarity of two of them."""

    score: float
    photos: list[str]
    labels: list[str | None]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The duplicates among a number of photos, the largest groups and the highest scores first.

    Args:
        photos: number of photos.
        threshold: the cosine similarity from which two files look the same.
        calibrated_on: photos that the threshold follows from, see `CalibrationData`; None if it is not calibrated.
        identical: files with the same content.
        near_identical: groups of files that look the same.
    """

    photos: int
    threshold: float
    calibrated_on: str | None
    identical: list[Identical]
    near_identical: list[NearIdentical]


def find_calibrated_duplicates(gallery: Gallery, calibration: CalibrationData | None) -> Duplicates:
    """Find duplicates with the threshold that follows from the calibration of the model and the number of photos."""
    if calibration is None:
        return find_duplicates(gallery, MIN_SCORE)
    threshold = ScoreThresholds(calibration, gallery.parts).duplicates(len(gallery.photos))
    return find_duplicates(gallery, threshold, calibration.calibrated_on)


def find_duplicates(gallery: Gallery, threshold: float, calibrated_on: str | None = None) -> Duplicates:
    """Find the photos of a gallery with the same content, or with nearly the same look.

    Two different files are near-identical from the cosine similarity `threshold` of their part look, or of their part
    kind if the embedding has no other.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for position, photo in enumerate(gallery.photos):
        copies[photo.sha256].append(position)
    identical = [
        Identical(sha256, sorted(gallery.photos[position].uri for position in positions))
        for sha256, positions in copies.items()
        if len(positions) > 1
    ]
    groups = _near_identical(gallery, [positions[0] for positions in copies.values()], threshold)
    return Duplicates(
        photos=len(gallery.photos),
        threshold=round(threshold, 6),
        calibrated_on=calibrated_on,
        identical=sorted(identical, key=lambda group: (-len(group.photos), group.photos)),
        near_identical=sorted(groups, key=lambda group: (-group.score, group.photos)),
    )


def _near_identical(gallery: Gallery, files: Sequence[int], threshold: float) -> Iterator[NearIdentical]:
    """Yield the groups of near-identical files; each file is represented by the first of its photos."""
    embeddings = gallery.part(LOOK)[files]
    for group in _linked(embeddings, threshold):
        photos = sorted((gallery.photos[files[position]] for position in group), key=lambda photo: photo.uri)
        lowest = float((embeddings[group] @ embeddings[group].T).min())
        yield NearIdentical(round(lowest, 6), [photo.uri for photo in photos], [photo.label for photo in photos])


def _linked(embeddings: Embeddings, threshold: float) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the positions of photos that are connected by similarities of at least the threshold."""
    scores, neighbours = top_k_of_each(embeddings, NEIGHBOURS)
    rows, columns = np.nonzero(scores >= threshold)
    links = coo_array((np.ones(len(rows)), (rows, neighbours[rows, columns])), shape=(len(embeddings),) * 2)
    _, group = connected_components(links, directed=False)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    yield from (members for members in np.split(order, np.cumsum(sizes)[:-1]) if len(members) > 1)
