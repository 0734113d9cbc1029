"""Comparisons of several bundles: the entries of a table, and a chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from retrieval.bundle import Bundle
from retrieval.bundle_format import Precision
from retrieval.errors import LookalikeError
from retrieval.metrics import METRICS, Means, SplitMetrics
from retrieval.photo_ref import display
from trainer.extra import require_training_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".svg", ".png")
DRAWN = ("recall_at_1", "map_at_r")
TRAINED, UNTRAINED = "#0072b2", "#8f8f8f"


class SeedSummary(BaseModel):
    """Mean and spread of each metric over several seeds."""

    count: int
    mean: Means
    spread: Means


class ComparedBundle(BaseModel):
    """A bundle in a comparison."""

    bundle: str  # its folder, as the user named it
    model_id: str
    backbone: str
    recipe: str
    changed: tuple[str, ...]  # settings of the recipe that were changed, each `setting=value`
    dimension: int
    precision: Precision
    data: str | None  # digest of the photos and splits of its training; None for an imported network
    training_photos: int
    metrics: SplitMetrics  # on the compared split
    untrained: SplitMetrics | None  # the same of the backbone before training; None if it is not known
    seeds: SeedSummary | None  # None for a single run
    seconds: float | None = None  # of the training; None, like the next two, if the bundle lacks them
    epochs: int | None = None
    parameters: int | None = None
    bytes: int  # size of the network's file

    @property
    def how(self) -> str:
        """Backbone, precision, recipe and its changed settings, in one line."""
        return ", ".join([f"{self.backbone} in {self.precision}", self.recipe, *self.changed])

    def as_dict(self) -> dict[str, Any]:
        """The entry for `--json`, its metrics as top-level keys."""
        fields = self.model_dump(mode="json")
        metrics = fields.pop("metrics")
        return {**fields, **metrics}


def entry_of(bundle: Bundle, split: str) -> ComparedBundle:
    """Return the metrics and the training of a bundle; raise `LookalikeError` if it has no metrics of the split."""
    manifest, metrics = bundle.manifest, bundle.manifest.metrics
    measured, data, seeds = metrics.of(split), manifest.training_data, metrics.seeds
    if measured is None:
        known = " and ".join(metrics.splits)
        raise LookalikeError(
            f"{display(bundle.folder)} has no metrics of the split {split!r}.",
            f"It has those of {known}." if known else "Leave it out, or train it with `lookalike train`.",
        )
    untrained = metrics.untrained.of(split) if metrics.untrained else None
    mean, spread = (seeds.mean.of(split), seeds.spread.of(split)) if seeds else (None, None)
    return ComparedBundle(
        bundle=display(bundle.folder),
        **manifest.model_dump(include={"model_id", "backbone", "recipe", "changed", "dimension", "precision"}),
        data=data.digest if data else None,
        training_photos=data.counts.get("train", 0) if data else 0,
        metrics=measured.without_classes,
        untrained=untrained.without_classes if untrained else None,
        seeds=SeedSummary(count=len(seeds.runs), mean=mean, spread=spread) if seeds and mean and spread else None,
        **(metrics.training.model_dump() if metrics.training else {}),
        bytes=bundle.network.stat().st_size,
    )


def check_chart_target(path: Path) -> None:
    """Check that a comparison can be written to a file with this suffix; raises `LookalikeError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise LookalikeError(
            f"A comparison can't be written to {display(path)}.", f"Name a file that ends in {', '.join(SUFFIXES)}."
        )


def write_comparison(path: Path, entries: Sequence[ComparedBundle], split: str) -> None:
    """Write the comparison: chart and table as a page (.html), or the chart alone (.svg, .png).

    Raises:
        LookalikeError: matplotlib is not installed.
        OSError: the file can't be written.
    """
    with require_training_extra():
        from trainer.report import charts  # noqa: PLC0415 - an extra
    from trainer.report.templates import render  # noqa: PLC0415 - as above

    with charts.style():
        chart = _chart(entries)
        if path.suffix.lower() == ".html":
            page = render("comparison.html", entries=entries, split=split, chart=charts.svg(chart))
            path.write_text(page, encoding="utf-8", errors="backslashreplace")
        else:
            chart.savefig(path, dpi=150, facecolor="white")


def _chart(entries: Sequence[ComparedBundle]) -> "Figure":
    """A dot for each bundle and metric with its interval, and a ring for the untrained backbone."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    from trainer.report.charts import plain  # noqa: PLC0415 - as above

    figure = Figure(figsize=(9, 1.2 + 0.5 * len(entries)), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(DRAWN), sharey=True), DRAWN, strict=True):
        for place, entry in enumerate(entries):
            _draw(axes, place, entry, metric)
        axes.set(title=METRICS[metric], yticks=range(len(entries)))
        axes.set_yticklabels([plain(f"{entry.bundle}\n{entry.how}") for entry in entries])
        axes.set_ylim(len(entries) - 0.5, -0.5)
    figure.legend(*_one_of_each(axes), loc="outside lower right", ncols=3)
    return figure


def _draw(axes: "Axes", place: int, entry: ComparedBundle, metric: str) -> None:
    def draw(means: Means | None, marker: str, **style: Any) -> None:
        if means is not None and (mean := means[metric]) is not None:
            axes.plot(mean, place, marker, **style)

    if interval := (entry.metrics.intervals or {}).get(metric):
        axes.plot(interval, [place, place], color=TRAINED, linewidth=2, solid_capstyle="round")
    draw(entry.metrics, "o", color=TRAINED, label="trained, 95 % interval")
    draw(entry.seeds.mean if entry.seeds else None, "|", color=TRAINED, markersize=16, label="mean over seeds")
    draw(entry.untrained, "o", color=UNTRAINED, fillstyle="none", label="untrained backbone")


def _one_of_each(axes: "Axes") -> tuple[list[Any], list[str]]:
    """The legend's entries, each label once."""
    by_label = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(by_label.values()), list(by_label)
