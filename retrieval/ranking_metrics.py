"""Retrieval metrics as pure functions of ranked relevance.

The input is `relevant`, bool [queries, depth]: whether the neighbour at each rank, nearest first, has the query's
label; some metrics also take `total`, int [queries]: the number of relevant photos in the gallery for each query (R).
Each returns one value per query, float64 [queries].

R-precision and MAP@R are defined in Musgrave, Belongie, Lim, "A Metric Learning Reality Check" (2020), arXiv
2003.08505, §2.2. The value is 0 for a query without any relevant photo in the gallery.
"""

import numpy as np
import numpy.typing as npt

Relevance = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int_]
Values = npt.NDArray[np.float64]


def recall_at_k(relevant: Relevance, k: int) -> Values:
    """1 if at least one of the first k neighbours is relevant, as recall@k is defined in metric learning."""
    return _float64(relevant[:, :k].any(axis=1))


def precision_at_k(relevant: Relevance, k: int) -> Values:
    """The share of relevant photos among the first k neighbours."""
    return _float64(relevant[:, :k].sum(axis=1) / k)


def r_precision(relevant: Relevance, total: Counts) -> Values:
    """The share of relevant photos among the first R neighbours; needs a depth of at least max(total)."""
    return _float64(_within_r(relevant, total).sum(axis=1) / np.maximum(total, 1))


def map_at_r(relevant: Relevance, total: Counts) -> Values:
    """Precision at each relevant rank within the first R, summed and divided by R; needs a depth of max(total)."""
    hits = _within_r(relevant, total)
    ranks = np.arange(1, relevant.shape[1] + 1)
    precision = hits.cumsum(axis=1) / ranks
    return _float64((precision * hits).sum(axis=1) / np.maximum(total, 1))


def reciprocal_rank(relevant: Relevance) -> Values:
    """1 / rank of the first relevant neighbour, 0 if none is within the depth; the mean is the MRR."""
    if relevant.shape[1] == 0:
        return np.zeros(len(relevant))
    return _float64(relevant.any(axis=1) / (relevant.argmax(axis=1) + 1))


def _within_r(relevant: Relevance, total: Counts) -> Relevance:
    if relevant.shape[1] < total.max(initial=0):
        raise ValueError(f"a depth of {relevant.shape[1]} neighbours is less than R = {total.max()}")
    hits: Relevance = relevant & (np.arange(relevant.shape[1]) < total[:, None])
    return hits


def _float64(values: npt.NDArray[np.generic]) -> Values:
    return np.asarray(values, np.float64)
