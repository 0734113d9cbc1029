"""How well embeddings retrieve: each photo in turn asks for all others."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from retrieval import ranking_metrics
from retrieval.neighbours import ranked_without_self

METRICS = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "precision_at_5": "P@5",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "mrr": "MRR",
}
CONFIDENCE = 0.95
RESAMPLES = 1000
RESAMPLES_AT_ONCE = 100

Interval = tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """Retrieval metrics of each query, and what they come to.

    Attributes:
        labels: the class of each query, str [queries]; queries are the photos with another of their class to find.
        values: metric → its value for each query, float64 [queries].
    """

    labels: npt.NDArray[np.str_]
    values: dict[str, npt.NDArray[np.float64]]

    @property
    def queries(self) -> int:
        """How many there are."""
        return len(self.labels)

    @cached_property
    def overall(self) -> dict[str, float]:
        """Metric → mean over all queries; 0 where there are none."""
        return {name: float(value.mean()) if self.queries else 0.0 for name, value in self.values.items()}

    def of_class(self, label: str) -> "Evaluation":
        """The part of it that a class's queries make."""
        chosen = self.labels == label
        return Evaluation(self.labels[chosen], {name: value[chosen] for name, value in self.values.items()})

    def intervals(self) -> dict[str, Interval]:
        """Metric → the 95 % bootstrap interval of its mean: percentiles over resampled queries, always the same.

        The queries are resampled, the gallery is not: an interval says how much a figure owes to which photos happened
        to ask. How much it owes to the luck of training, several seeds tell.
        """
        if self.queries < 2:
            return {name: (mean, mean) for name, mean in self.overall.items()}
        found = stats.bootstrap(
            (np.stack(list(self.values.values())),),
            np.mean,
            axis=1,
            n_resamples=RESAMPLES,
            batch=RESAMPLES_AT_ONCE,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        return {name: (float(low), float(high)) for name, low, high in zip(self.values, *found, strict=True)}

    def as_dict(self) -> dict[str, Any]:
        """The overall figures as top-level keys, and beside them `queries`, `intervals` and `per_class`."""
        classes = [str(label) for label in np.unique(self.labels)]
        return self._figures() | {"per_class": {label: self.of_class(label)._figures() for label in classes}}

    def _figures(self) -> dict[str, Any]:
        return {**self.overall, "queries": self.queries, "intervals": self.intervals()}


def evaluate_embeddings(embeddings: npt.NDArray[np.float32], labels: npt.NDArray[np.str_]) -> Evaluation:
    """Measure how well embeddings bring photos of one class together.

    Args:
        embeddings: float32 [photos, d], unit length.
        labels: str [photos].

    Returns:
        recall@1/5/10, precision@5, R-precision, MAP@R and MRR.
    """
    codes = np.unique(labels, return_inverse=True)[1].astype(np.int32)  # a fraction of the memory of the names
    relevant = codes[ranked_without_self(embeddings)] == codes[:, None]
    total = relevant.sum(axis=1)
    asked = total > 0
    relevant, total = relevant[asked], total[asked]
    values = {
        "recall_at_1": ranking_metrics.recall_at_k(relevant, 1),
        "recall_at_5": ranking_metrics.recall_at_k(relevant, 5),
        "recall_at_10": ranking_metrics.recall_at_k(relevant, 10),
        "precision_at_5": ranking_metrics.precision_at_k(relevant, 5),
        "r_precision": ranking_metrics.r_precision(relevant, total),
        "map_at_r": ranking_metrics.map_at_r(relevant, total),
        "mrr": ranking_metrics.reciprocal_rank(relevant),
    }
    return Evaluation(labels[asked], values)


def shown_split(metrics: Mapping[str, Any]) -> str:
    """The split whose figures come first: test, or val where the test split has no photo to ask with."""
    return "test" if metrics.get("test", {}).get("queries") else "val"
