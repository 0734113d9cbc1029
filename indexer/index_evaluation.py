"""How well the labelled photos of an index find photos of their own label: what a new model is judged by."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexer.batch import batches
from retrieval.index import VectorIndex
from retrieval.index.base import Vector
from retrieval.ranking_metrics import map_at_r, recall_at_k

MOST_PHOTOS = 20_000
MOST_QUERIES = 1_000
AT_ONCE = 100  # queries compared with all photos
FETCHED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Retrieval by leaving one out: each query photo is looked up among all others.

    Args:
        model: the model whose index was measured.
        photos: how many labelled photos took part.
        queries: how many of them were queries.
        recall_at_1: the share of queries whose nearest photo has their label.
        map_at_r: the mean average precision at R, see `retrieval.ranking_metrics`.
    """

    model: str
    photos: int
    queries: int
    recall_at_1: float
    map_at_r: float


def evaluate(index: VectorIndex, other: VectorIndex | None = None) -> list[Evaluation]:
    """Measure an index, and another one on the same photos.

    At most 20,000 labelled photos take part, drawn at random, and 1,000 of them as queries.

    Args:
        index: gives the photos and their labels.
        other: an index to compare with; photos that it does not hold take no part.

    Returns:
        One result an index; none where no two photos share a label.
    """
    rng = np.random.default_rng(0)
    labels = _draw_labelled(index, rng)
    measured = [index] if other is None else [index, other]
    vectors = [_vectors(each, labels) for each in measured]
    labels = {photo: label for photo, label in labels.items() if all(photo in found for found in vectors)}
    if not labels:
        return []
    _, codes, sizes = np.unique(list(labels.values()), return_inverse=True, return_counts=True)
    queries = rng.permutation(np.flatnonzero(sizes[codes] > 1))[:MOST_QUERIES]
    if not len(queries):
        return []
    return [
        _measure(each.model, np.stack([found[photo] for photo in labels]), codes, queries)
        for each, found in zip(measured, vectors, strict=True)
    ]


def _draw_labelled(index: VectorIndex, rng: np.random.Generator) -> Mapping[uuid.UUID, str]:
    """Labelled photos, each with the same chance to be among them (reservoir sampling, Vitter's algorithm R)."""
    drawn: list[tuple[uuid.UUID, str]] = []
    labelled = ((point.id, point.payload.label) for point in index.scroll() if point.payload.label is not None)
    for number, pair in enumerate(labelled):
        place = number if number < MOST_PHOTOS else int(rng.integers(number + 1))
        if place < MOST_PHOTOS:
            drawn[place : place + 1] = [pair]
    return dict(drawn)


def _vectors(index: VectorIndex, photos: Iterable[uuid.UUID]) -> dict[uuid.UUID, Vector]:
    """The vectors of those photos that the index holds: one may have been removed since it was drawn."""
    return {photo: vector for ids in batches(photos, FETCHED_AT_ONCE) for photo, vector in index.vectors(ids).items()}


def _measure(
    model: str, vectors: npt.NDArray[np.float32], codes: npt.NDArray[np.int_], queries: npt.NDArray[np.int_]
) -> Evaluation:
    others = np.bincount(codes)[codes] - 1
    recalls, precisions = [], []
    for some in (queries[first : first + AT_ONCE] for first in range(0, len(queries), AT_ONCE)):
        scores = vectors[some] @ vectors.T
        scores[np.arange(len(some)), some] = -np.inf
        ranked = np.argsort(-scores, axis=1, kind="stable")[:, : others[some].max()]
        relevant = codes[ranked] == codes[some][:, None]
        recalls.append(recall_at_k(relevant, 1))
        precisions.append(map_at_r(relevant, others[some]))
    return Evaluation(
        model=model,
        photos=len(vectors),
        queries=len(queries),
        recall_at_1=round(float(np.concatenate(recalls).mean()), 4),
        map_at_r=round(float(np.concatenate(precisions).mean()), 4),
    )
