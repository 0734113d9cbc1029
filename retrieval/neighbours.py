"""Exact nearest neighbours with scikit-learn: the yardstick for every index."""

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

Embeddings = npt.NDArray[np.float32]


def exact_neighbours(
    gallery: Embeddings, queries: Embeddings, k: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The k photos of the gallery with the highest cosine similarity to each query.

    Args:
        gallery: float32 [photos, d], unit length.
        queries: float32 [queries, d], unit length.
        k: how many; at most the gallery's size is returned.

    Returns:
        scores float64 [queries, k], highest first, and positions in the gallery int64 [queries, k].
    """
    search = NearestNeighbors(n_neighbors=min(k, len(gallery)), algorithm="brute", metric="cosine").fit(gallery)
    distances, positions = search.kneighbors(queries)
    return 1.0 - distances.astype(np.float64), positions


def ranked_without_self(embeddings: Embeddings) -> npt.NDArray[np.int64]:
    """For each photo, all other photos, the most similar first: int64 [photos, photos − 1]."""
    _, positions = exact_neighbours(embeddings, embeddings, len(embeddings))
    others = positions != np.arange(len(embeddings))[:, None]
    ranked: npt.NDArray[np.int64] = positions[others].reshape(len(embeddings), -1)
    return ranked
