"""Retrieval metrics of a model, as bundle, tables, report, API and page show them.

Everything is optional: older bundles lack some metrics, and a field that is absent is left out of the JSON.
"""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

METRICS_VERSION = 1  # of this schema, which bundles state; fields may be added without raising it
METRICS = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "precision_at_5": "P@5",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "mrr": "MRR",
}
COPY_METRICS = {"copy_recall_at_1": "copy R@1", "copy_recall_at_10": "copy R@10"}
PROPORTIONS = frozenset(("recall_at_1", "recall_at_5", "recall_at_10", *COPY_METRICS))  # 0 or 1 for each query
ALL_METRICS = METRICS | COPY_METRICS

Interval = tuple[float, float]
Value = TypeVar("Value")


def show(mean: float | None) -> str:
    """Return a mean with three decimals; – if it is absent."""
    return "–" if mean is None else f"{mean:.3f}"


class Sparse(BaseModel):
    """A model whose JSON has no field that is None."""

    model_config = ConfigDict(frozen=True)

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class Means(Sparse):
    """Each metric's mean over the queries, 0 to 1.

    Recall, precision, R-precision, MAP@R and MRR are those of photos with the query's label
    (`retrieval.ranking_metrics`); the queries of copy recall are edited copies, which are to find their originals.
    """

    recall_at_1: float | None = None
    recall_at_5: float | None = None
    recall_at_10: float | None = None
    precision_at_5: float | None = None
    r_precision: float | None = None
    map_at_r: float | None = None
    mrr: float | None = None
    copy_recall_at_1: float | None = None
    copy_recall_at_10: float | None = None

    def __getitem__(self, metric: str) -> float | None:
        """Return the mean of a metric by its name."""
        value: float | None = getattr(self, metric)
        return value


class SplitMetrics(Means):
    """The metrics on the photos of one split."""

    queries: int | None = Field(None, description="number of photos with another one of their class")
    intervals: dict[str, Interval] | None = Field(None, description="metric → 95 % confidence interval of its mean")
    by_look: dict[str, Means] | None = Field(None, description="weight of `look` in the query, as text → metrics")
    per_class: dict[str, "SplitMetrics"] | None = Field(None, description="the metrics of each class's queries")

    @property
    def without_classes(self) -> "SplitMetrics":
        """The same without `per_class`."""
        return self.model_copy(update={"per_class": None})


class BySplit(Sparse, Generic[Value]):
    """A value for each held-out split."""

    val: Value | None = None
    test: Value | None = None

    def of(self, split: str) -> Value | None:
        """Return the value of a split; None if it is absent."""
        value: Value | None = self.splits.get(split)
        return value

    @property
    def splits(self) -> dict[str, Value]:
        """Those that are there, by split."""
        return {split: value for split, value in (("val", self.val), ("test", self.test)) if value is not None}


class TrainingCost(Sparse):
    """The cost of training the network that was kept."""

    seconds: float | None = None
    epochs: int | None = None
    parameters: int | None = None


class SeedMetrics(BySplit[Means]):
    """The metrics of the network trained with one seed."""

    seed: int
    seconds: float


class Seeds(Sparse):
    """The metrics of several seeds."""

    runs: list[SeedMetrics]
    kept: int = Field(description="the seed whose network is in the bundle")
    mean: BySplit[Means] = Field(description="over the runs")
    spread: BySplit[Means] = Field(description="their standard deviation (n − 1)")


class Cosines(Sparse):
    """Cosine similarities of two networks' embeddings of the validation photos."""

    mean: float
    min: float


class Quantization(Sparse):
    """The comparison of the quantized network with the float32 network."""

    accepted: bool = Field(description="whether the quantized network is in the bundle")
    calibration_photos: int = Field(description="number of training photos that gave the ranges of activations")
    reason: str | None = Field(None, description="why it could not be quantized; then the fields below are absent")
    float32_at_first: int | None = Field(None, description="number of the first convolutions that were not quantized")
    cosine: Cosines | None = Field(None, description="between the embeddings of both")
    float32: BySplit[Means] | None = None
    int8: BySplit[Means] | None = None


class Metrics(BySplit[SplitMetrics]):
    """What training measured, of the network in the bundle unless a field says otherwise."""

    untrained: BySplit[SplitMetrics] | None = Field(None, description="of the features of the untrained backbone")
    training: TrainingCost | None = None
    seeds: Seeds | None = Field(None, description="of all seeds if there were several")
    quantization: Quantization | None = Field(None, description="if it was requested")

    @property
    def shown_split(self) -> str:
        """The split whose metrics are shown first: test, or val if no photo of the test split can be a query."""
        return "test" if self.test is not None and self.test.queries else "val"
