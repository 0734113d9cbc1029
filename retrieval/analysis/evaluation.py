"""How well embeddings retrieve photos of the same label: each photo in turn is the query, all others the gallery."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from retrieval import ranking_metrics as ranking
from retrieval.analysis.copies import copy_recall
from retrieval.analysis.roles import EVERY_PHOTO, Roles
from retrieval.metrics import METRICS, PROPORTIONS, Interval, Means, SplitMetrics
from retrieval.parts import Parts
from retrieval.ranking_metrics import Counts, Relevance, Values
from retrieval.top_k import ENTRIES_PER_BATCH, Embeddings, Positions, top_k_in_batches

LOOKS = (0.0, 0.25, 0.5, 0.75, 1.0)
DEEPEST_CUT = 10  # of the metrics at a fixed rank
CONFIDENCE = 0.95
MOST_CLASSES = 500  # whose own metrics are computed and stored in a bundle, 2 kB each
RESAMPLES = 1000
RESAMPLES_PER_BATCH = 100

COMPUTE: dict[str, Callable[[Relevance, Counts], Values]] = {
    "recall_at_1": lambda relevant, _: ranking.recall_at_k(relevant, 1),
    "recall_at_5": lambda relevant, _: ranking.recall_at_k(relevant, 5),
    "recall_at_10": lambda relevant, _: ranking.recall_at_k(relevant, 10),
    "precision_at_5": lambda relevant, _: ranking.precision_at_k(relevant, 5),
    "r_precision": ranking.r_precision,
    "map_at_r": ranking.map_at_r,
    "mrr": lambda relevant, _: ranking.reciprocal_rank(relevant),
}


@dataclass(frozen=True)
class Evaluation:
    """Retrieval metrics of each query, and their means.

    Attributes:
        labels: the class of each query, str [queries]; queries are the photos with another of their class to find.
            Photos without labels are of one class, whose name is empty.
        values: metric → its value for each query, float64 [queries].
        positions: of the queries among the photos, int64 [queries].
    """

    labels: npt.NDArray[np.str_]
    values: dict[str, Values]
    positions: Positions

    @property
    def queries(self) -> int:
        """The number of queries."""
        return len(self.labels)

    @cached_property
    def overall(self) -> dict[str, float]:
        """Metric → mean over all queries; 0 if there are none."""
        return {name: float(value.mean()) if self.queries else 0.0 for name, value in self.values.items()}

    def of_class(self, label: str) -> "Evaluation":
        """The evaluation of the queries of one class."""
        chosen = self.labels == label
        values = {name: value[chosen] for name, value in self.values.items()}
        return Evaluation(self.labels[chosen], values, self.positions[chosen])

    def intervals(self) -> dict[str, Interval]:
        """Metric → the 95 % confidence interval of its mean.

        The recalls are proportions of the queries and have Wilson's score interval, which is not empty if all queries
        succeed or fail (Wilson, 1927). The other metrics have bootstrap percentiles: of their mean over resampled
        queries, with a fixed seed. The queries are resampled, the gallery is not: an interval shows how much a metric
        depends on the choice of the queries. Several seeds show how much it depends on chance in training.
        """
        found = {name: (mean, mean) for name, mean in self.overall.items()}
        if self.queries > 0:
            found |= {name: _wilson(found[name][0], self.queries) for name in self.values if name in PROPORTIONS}
        if self.queries > 1:
            found |= _bootstrap({name: value for name, value in self.values.items() if name not in PROPORTIONS})
        return found

    def metrics(self) -> SplitMetrics:
        """The means with their intervals, over all queries and, if there are at most 500 classes, by class."""
        labels = [str(label) for label in np.unique(self.labels)]
        if "" in labels or len(labels) > MOST_CLASSES:
            return self._summary()
        classes = {label: self.of_class(label)._summary() for label in labels}
        return self._summary().model_copy(update={"per_class": classes})

    def _summary(self) -> SplitMetrics:
        return SplitMetrics(**self.overall, queries=self.queries, intervals=self.intervals())


def evaluate_embeddings(
    embeddings: Embeddings,
    labels: npt.NDArray[np.str_],
    *,
    roles: Roles = EVERY_PHOTO,
    metrics: Iterable[str] = METRICS,
    copies: Embeddings | None = None,
) -> Evaluation:
    """Measure how well embeddings bring photos of one class together.

    Args:
        embeddings: float32 [photos, d], unit length.
        labels: str [photos]; if all are empty, the photos have no labels, and only `COPY_METRICS` are computed.
        roles: which photos are queries and which may be found; a photo without a match to find is never a query.
        metrics: which of `METRICS` to compute.
        copies: of an edited copy of each photo, float32 [photos, d], to compute `COPY_METRICS` for the query photos.
    """
    _, codes = np.unique(labels, return_inverse=True)
    total = roles.matches(labels)
    positions = np.arange(len(labels)) if roles.queries is None else roles.queries
    positions = positions[total[positions] > 0]
    has_labels = bool((labels != "").any())
    values = {metric: np.zeros(len(positions)) for metric in (metrics if has_labels else ())}
    depth = max(DEEPEST_CUT, total[positions].max(initial=0))

    def relevance(of: Positions, depth: int) -> Iterator[tuple[slice, Relevance]]:
        """Yield, for parts of the queries, whether the photos ranked have the query's label, bool [batch, depth]."""
        for part, _, ranked in top_k_in_batches(embeddings, depth, of, roles.groups, roles.gallery):
            yield part, (codes[ranked] == codes[of[part], None]) & (ranked >= 0)

    for part, relevant in relevance(positions, depth) if values else ():
        for metric, of_metric in values.items():
            of_metric[part] = COMPUTE[metric](relevant, total[positions[part]])
    if "mrr" in values:  # of queries without a relevant photo within that depth, it depends on the whole ranking
        unfound = np.flatnonzero(values["mrr"] == 0)
        values["mrr"][unfound] = 1 / _first_ranks(embeddings, codes, roles, positions[unfound])
    if copies is not None:
        values |= {name: of_all[positions] for name, of_all in copy_recall(embeddings, copies).items()}
    return Evaluation(labels[positions], values, positions)


def evaluate_by_look(
    embeddings: Embeddings,
    labels: npt.NDArray[np.str_],
    copies: Embeddings | None,
    parts: Parts,
    roles: Roles = EVERY_PHOTO,
) -> dict[str, Means] | None:
    """Evaluate embeddings of two parts with five weights of the part look; return None if they have one part."""
    if parts.default_look is None:
        return None
    return {
        f"{look:g}": Means(
            **evaluate_embeddings(
                parts.weighted(embeddings, look),
                labels,
                roles=roles,
                copies=None if copies is None else parts.weighted(copies, look),
            ).overall
        )
        for look in LOOKS
    }


def _wilson(mean: float, queries: int) -> Interval:
    """Return Wilson's score interval of a proportion of the queries."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = mean + z**2 / (2 * queries)
    half = z * math.sqrt(mean * (1 - mean) / queries + (z / (2 * queries)) ** 2)
    scale = 1 + z**2 / queries
    low, high = (middle - half) / scale, (middle + half) / scale
    return min(max(0.0, low), mean), max(min(1.0, high), mean)  # rounding may put a mean of 0 or 1 just outside


def _bootstrap(values: dict[str, Values]) -> dict[str, Interval]:
    """Return the percentiles of each metric's mean over resampled queries, at least two."""
    if not values:
        return {}
    from scipy import stats  # noqa: PLC0415 - takes long to import, and a server needs no intervals

    found = stats.bootstrap(
        (np.stack(list(values.values())),),
        np.mean,
        axis=1,
        n_resamples=RESAMPLES,
        batch=RESAMPLES_PER_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return {name: (float(low), float(high)) for name, low, high in zip(values, *found, strict=True)}


def _first_ranks(embeddings: Embeddings, codes: Positions, roles: Roles, queries: Positions) -> Positions:
    """Return the rank of the first photo with the label of each query, int64 [queries]; sorting would take longer.

    `codes` has the number of each photo's label, int64 [photos].
    """
    gallery = np.arange(len(codes)) if roles.gallery is None else roles.gallery
    groups = np.arange(len(codes)) if roles.groups is None else roles.groups
    candidates, ranks = embeddings[gallery].T, np.ones(len(queries), np.int64)
    size = max(1, ENTRIES_PER_BATCH // max(1, len(gallery)))
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        scores = embeddings[part] @ candidates
        scores[groups[gallery] == groups[part, None]] = -np.inf
        best = np.where(codes[gallery] == codes[part, None], scores, -np.inf).max(axis=1)
        ranks[start : start + size] += (scores > best[:, None]).sum(axis=1)
    return ranks
