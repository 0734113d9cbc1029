"""Exact top-k search with scikit-learn, in batches: the reference for every index, and the ranking of every analysis.

Embeddings have unit length, so that the order by Euclidean distance is the order by cosine similarity, and the score
of a pair at the distance d is 1 − d²/2. scikit-learn is two to three times faster with the former.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

Embeddings = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

ENTRIES_PER_BATCH = 2**20  # of a ranking; the arrays of a batch take about 40 MB


def top_k(gallery: Embeddings, queries: Embeddings, k: int) -> tuple[Scores, Positions]:
    """Find the k photos of a gallery that are most similar to each query.

    Args:
        gallery: float32 [photos, d], unit length.
        queries: float32 [queries, d], unit length.
        k: number of results; at most the size of the gallery.

    Returns:
        scores float64 [queries, k], highest first, and positions in the gallery int64 [queries, k].
    """
    distances, positions = _fitted(gallery).kneighbors(queries, min(k, len(gallery)))
    return 1 - distances**2 / 2, positions


def top_k_of_each(
    gallery: Embeddings, k: int, *, queries: Positions | None = None, groups: npt.NDArray[np.generic] | None = None
) -> tuple[Scores, Positions]:
    """Find the k photos of a gallery that are most similar to each of its own photos, which is excluded itself.

    100,000 photos take about 80 seconds of processor time.

    Args:
        gallery: float32 [photos, d], unit length.
        k: number of results; at most the number of other photos.
        queries: positions of the query photos; all by default.
        groups: [photos], the group of each photo; a query's whole group is excluded.

    Returns:
        scores float64 [queries, k], highest first, and positions int64 [queries, k]; −∞ and −1 past the last photo of
        another group.
    """
    queries = np.arange(len(gallery)) if queries is None else queries
    found = [ranking for _, *ranking in top_k_in_batches(gallery, k, queries, groups)]
    if not found:
        nothing = (len(queries), max(0, min(k, len(gallery) - 1)))
        return np.empty(nothing), np.empty(nothing, np.int64)
    scores, positions = (np.concatenate(batches) for batches in zip(*found, strict=True))
    return scores, positions


def top_k_in_batches(
    gallery: Embeddings,
    k: int,
    queries: Positions,
    groups: npt.NDArray[np.generic] | None = None,
    candidates: Positions | None = None,
) -> Iterator[tuple[slice, Scores, Positions]]:
    """Yield what `top_k_of_each` returns in batches of bounded size, each with the part of `queries` that it is for.

    `candidates` are the positions of the photos that may be found; all by default.
    """
    k = min(k, len(gallery) - 1)
    if k <= 0 or len(queries) == 0:
        return
    groups = np.arange(len(gallery)) if groups is None else groups
    candidates = np.arange(len(gallery)) if candidates is None else candidates
    depth = min(len(candidates), k + int(np.unique(groups, return_counts=True)[1].max()))
    search, size = _fitted(gallery[candidates]), max(1, ENTRIES_PER_BATCH // depth)
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        distances, nearest = search.kneighbors(gallery[queries[part]], depth)
        positions = candidates[nearest]
        excluded = groups[positions] == groups[queries[part], None]
        scores = np.where(excluded, -np.inf, 1 - distances**2 / 2)
        order = np.argsort(excluded, axis=1, kind="stable")[:, :k]  # the others first, still nearest first
        others = np.where(excluded, -1, positions)
        yield part, np.take_along_axis(scores, order, axis=1), np.take_along_axis(others, order, axis=1)


def _fitted(gallery: Embeddings) -> "NearestNeighbors":
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - takes seconds to import

    return NearestNeighbors(algorithm="brute", metric="euclidean").fit(gallery)
