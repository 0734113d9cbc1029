"""How well embeddings retrieve: each photo in turn asks for all others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval import metrics
from retrieval.neighbours import ranked_without_self


@dataclass(frozen=True)
class Evaluation:
    """Retrieval metrics, each the mean over queries.

    Attributes:
        queries: photos that were asked with: those with another photo of their class to find.
        overall: metric → mean over all queries.
        per_class: class → metric → mean over its queries.
    """

    queries: int
    overall: dict[str, float]
    per_class: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """The overall figures as top-level keys, and beside them `queries` and `per_class`."""
        return {**self.overall, "queries": self.queries, "per_class": self.per_class}


def evaluate_embeddings(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.str_]) -> Evaluation:
    """Measure how well embeddings bring photos of one class together.

    Args:
        embeddings: float32 [photos, d], unit length.
        labels: str [photos].

    Returns:
        recall@1/5/10, precision@5, R-precision, MAP@R and MRR.
    """
    relevant = labels[ranked_without_self(embeddings)] == labels[:, None]
    total = relevant.sum(axis=1)
    asked = total > 0
    relevant, total, labels = relevant[asked], total[asked], labels[asked]
    values = {
        "recall_at_1": metrics.recall_at_k(relevant, 1),
        "recall_at_5": metrics.recall_at_k(relevant, 5),
        "recall_at_10": metrics.recall_at_k(relevant, 10),
        "precision_at_5": metrics.precision_at_k(relevant, 5),
        "r_precision": metrics.r_precision(relevant, total),
        "map_at_r": metrics.map_at_r(relevant, total),
        "mrr": metrics.reciprocal_rank(relevant),
    }
    return Evaluation(
        queries=len(labels),
        overall=_means(values, np.full(len(labels), True)),
        per_class={str(label): _means(values, labels == label) for label in np.unique(labels)},
    )


def _means(values: dict[str, npt.NDArray[np.float64]], chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(value[chosen].mean()) if chosen.any() else 0.0 for name, value in values.items()}
