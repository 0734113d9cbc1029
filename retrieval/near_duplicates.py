"""Results that are near-identical copies of each other."""

from collections.abc import Sequence

import numpy as np

from retrieval.top_k import Embeddings


def copied_from(looks: Embeddings, threshold: float) -> Sequence[int | None]:
    """Return the first photo that each photo is a near-identical copy of.

    Args:
        looks: the part look of photos in order, float32 [photos, d], unit length.
        threshold: the cosine similarity from which two photos are near-identical.

    Returns:
        For each photo the position of an earlier one that is no copy itself; None if there is none.
    """
    is_copy = np.tril(looks @ looks.T >= threshold, k=-1)
    found: list[int | None] = []
    for row in is_copy:
        found.append(next((other for other in np.flatnonzero(row).tolist() if found[other] is None), None))
    return found
