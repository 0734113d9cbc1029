"""How well the labelled photos of an index find photos with the same label: the criterion for activating a model."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from indexer.gallery import read_vectors
from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.analysis.roles import Roles
from retrieval.index import VectorIndex

MOST_PHOTOS = 20_000
MOST_QUERIES = 1_000
METRICS = ("recall_at_1", "map_at_r")


@dataclass(frozen=True, slots=True)
class IndexEvaluation:
    """Leave-one-out retrieval: each query photo is searched among all others."""

    model: str
    photos: int  # number of labelled photos
    queries: int  # number of those that were queries
    recall_at_1: float  # the share of queries whose nearest photo has their label
    map_at_r: float  # the mean average precision at R, see `retrieval.ranking_metrics`


def evaluate(
    index: VectorIndex, other: VectorIndex | None = None, *, learned: Collection[str] = ()
) -> list[IndexEvaluation]:
    """Measure an index, and another one on the same photos: those that both hold.

    At most 20,000 labelled photos are used, drawn at random, 1,000 of them as queries.

    Args:
        learned: the sha256 of photos that are no queries, because a model was trained or selected on them.

    Returns:
        One result per index; none if there are no queries: no two photos share a label, or all of them were learned.
    """
    rng = np.random.default_rng(0)
    drawn = index.sample(MOST_PHOTOS, labelled=True)
    measured = [index] if other is None else [index, other]
    vectors = [read_vectors(each, drawn) for each in measured]
    labels = {photo: drawn[photo].label for photo in drawn if all(photo in found for found in vectors)}
    if not labels:
        return []
    names = np.array(list(labels.values()))
    _, codes, sizes = np.unique(names, return_inverse=True, return_counts=True)
    is_new = np.array([drawn[photo].sha256 not in learned for photo in labels])
    queries = rng.permutation(np.flatnonzero((sizes[codes] > 1) & is_new))[:MOST_QUERIES]
    if not len(queries):
        return []
    evaluations = []
    for each, found in zip(measured, vectors, strict=True):
        embeddings = np.stack([found[photo] for photo in labels])
        overall = evaluate_embeddings(embeddings, names, roles=Roles(queries), metrics=METRICS).overall
        means = {metric: round(mean, 4) for metric, mean in overall.items()}
        evaluations.append(IndexEvaluation(each.model, len(names), len(queries), **means))
    return evaluations
