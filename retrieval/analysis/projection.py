"""Embeddings in two dimensions, for maps: t-SNE (van der Maaten and Hinton 2008) from the principal components."""

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from retrieval.top_k import Embeddings

PERPLEXITY = 30


def project_2d(
    embeddings: Embeddings, *, seed: int = 0, components: int | None = None, iterations: int = 1000, angle: float = 0.5
) -> npt.NDArray[np.float32]:
    """Project embeddings to the unit square so that neighbours stay neighbours; deterministic.

    Args:
        embeddings: float32 [photos, d].
        components: number of principal components that t-SNE starts from; all by default.
        angle: trade-off of the Barnes–Hut approximation, 0 (exact) to 1.

    Returns:
        float32 [photos, 2].
    """
    count = len(embeddings)
    with threadpool_limits(1):  # threads spin while they wait: beside other work they take ten times as long
        most = min(embeddings.shape)
        points = PCA(min(components or most, most), random_state=seed).fit_transform(embeddings)
        if count > 4 and points[:, 0].std() > 1e-6:  # otherwise there are no neighbourhoods to keep
            perplexity = min(PERPLEXITY, (count - 1) / 3)
            points = TSNE(
                init="pca", perplexity=perplexity, max_iter=iterations, angle=angle, n_jobs=1, random_state=seed
            ).fit_transform(points)
    positions = np.zeros((count, 2))
    positions[:, : points.shape[1]] = points[:, :2]
    low, high = positions.min(axis=0), positions.max(axis=0)
    return np.asarray((positions - low) / np.maximum(high - low, 1e-9), np.float32)
