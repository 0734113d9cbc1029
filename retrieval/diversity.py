"""Diverse results: near the query, and not too near each other.

Maximal marginal relevance (Carbonell and Goldstein 1998, doi:10.1145/290941.291025).
"""

import numpy as np

from retrieval.top_k import Embeddings

POOL = 300  # of the nearest photos are reordered; later ones follow in the order of their scores


def diverse_order(scores: Embeddings, embeddings: Embeddings, diversity: float) -> list[int]:
    """Return the positions of results, so that each is near the query and far from those before it.

    Args:
        scores: the similarities to the query, float32 [n].
        embeddings: of the results, float32 [n, d], of unit length.
        diversity: the weight of the similarity to the results before, 0 (the order of the scores) to 1.
    """
    remaining = np.ones(len(scores), bool)
    nearest = np.zeros(len(scores), np.float32)  # the similarity to the most similar result before
    order: list[int] = []
    for _ in range(len(scores)):
        value = (1 - diversity) * scores - diversity * nearest if order else scores
        chosen = int(np.argmax(np.where(remaining, value, -np.inf)))
        similar = embeddings @ embeddings[chosen]
        nearest = np.maximum(nearest, similar) if order else similar
        remaining[chosen] = False
        order.append(chosen)
    return order
