"""Several bundles side by side: one table, one figure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.bundle import Bundle, Precision
from retrieval.errors import LookalikeError
from retrieval.photo_ref import display
from trainer.extra import require_training_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".svg", ".png")
DRAWN = ("recall_at_1", "map_at_r")
TRAINED, UNTRAINED = "#0072b2", "#8f8f8f"


@dataclass(frozen=True)
class Entry:
    """A bundle as a comparison shows it.

    Attributes:
        bundle: its folder, as the user named it.
        model_id, backbone, recipe, dimension, precision: of the bundle.
        changed: what was changed of the recipe, each `setting=value`.
        data: digest of the photos and splits it was trained and measured on.
        training_photos: how many.
        figures: of the split that is compared: metric → mean, and `intervals`.
        untrained: the same of the backbone before training; None where it is not known.
        seeds: mean and spread of each metric, and how many; None for a single run.
        seconds, epochs, parameters: of the training; None where the bundle does not say.
        bytes: size of the network's file.
    """

    bundle: str
    model_id: str
    backbone: str
    recipe: str
    changed: tuple[str, ...]
    dimension: int
    precision: Precision
    data: str
    training_photos: int
    figures: dict[str, Any]
    untrained: dict[str, Any] | None
    seeds: dict[str, Any] | None
    seconds: float | None
    epochs: int | None
    parameters: int | None
    bytes: int

    @property
    def how(self) -> str:
        """Backbone and precision, recipe and what was changed of it, in one line."""
        return ", ".join([f"{self.backbone} in {self.precision}", self.recipe, *self.changed])

    def as_dict(self) -> dict[str, Any]:
        """It for `--json`, its figures as top-level keys."""
        fields = asdict(self)
        figures = fields.pop("figures")
        return {**fields, **figures}


def compare_bundles(bundles: Sequence[Bundle], split: str) -> list[Entry]:
    """What each bundle knows of how it was trained and how well it retrieves.

    Raises:
        LookalikeError: a bundle has no figures of that split.
    """
    return [_entry(bundle, split) for bundle in bundles]


def check_figure_target(path: Path) -> None:
    """Make sure that a comparison can be written there; raises `LookalikeError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise LookalikeError(
            f"A comparison can't be written to {display(path)}.", f"Name a file that ends in {', '.join(SUFFIXES)}."
        )


def write_comparison(path: Path, entries: Sequence[Entry], split: str) -> None:
    """Write the comparison: figure and table as a page (.html), or the figure alone (.svg, .png).

    Raises:
        LookalikeError: another suffix, or matplotlib is not installed.
        OSError: the file can't be written.
    """
    check_figure_target(path)
    with require_training_extra():
        from trainer.report import charts  # noqa: PLC0415 - an extra
    from trainer.report.templates import render  # noqa: PLC0415 - as above

    with charts.style():
        figure = _figure(entries)
        if path.suffix.lower() == ".html":
            page = render("comparison.html", entries=entries, split=split, figure=charts.svg(figure))
            path.write_text(page, encoding="utf-8", errors="backslashreplace")
        else:
            figure.savefig(path, dpi=150, facecolor="white")


def _entry(bundle: Bundle, split: str) -> Entry:
    manifest, metrics = bundle.manifest, bundle.manifest.metrics
    if split not in metrics:
        known = [name for name in ("test", "val") if name in metrics]
        raise LookalikeError(
            f"{display(bundle.folder)} has no figures of the split {split!r}.",
            f"It has those of {' and '.join(known)}." if known else "Leave it out, or train it with `lookalike train`.",
        )
    training, seeds = metrics.get("training", {}), metrics.get("seeds")
    return Entry(
        bundle=display(bundle.folder),
        model_id=manifest.model_id,
        backbone=manifest.backbone,
        recipe=manifest.recipe,
        changed=manifest.changed,
        dimension=manifest.dimension,
        precision=manifest.precision,
        data=manifest.training_data.digest,
        training_photos=manifest.training_data.counts.get("train", 0),
        figures=_without_classes(metrics[split]),
        untrained=_without_classes(metrics["untrained"][split]) if split in metrics.get("untrained", {}) else None,
        seeds=seeds and {"count": len(seeds["runs"]), "mean": seeds["mean"][split], "spread": seeds["spread"][split]},
        seconds=training.get("seconds"),
        epochs=training.get("epochs"),
        parameters=training.get("parameters"),
        bytes=bundle.network.stat().st_size,
    )


def _without_classes(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name != "per_class"}


def _figure(entries: Sequence[Entry]) -> "Figure":
    """A dot for each bundle and metric with its interval, and a ring for the untrained backbone."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    from retrieval.analysis.evaluation import METRICS  # noqa: PLC0415 - imports scikit-learn
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


def _draw(axes: "Axes", place: int, entry: Entry, metric: str) -> None:
    mean = entry.figures[metric]
    if "intervals" in entry.figures:
        low, high = entry.figures["intervals"][metric]
        axes.plot([low, high], [place, place], color=TRAINED, linewidth=2, solid_capstyle="round")
    axes.plot(mean, place, "o", color=TRAINED, label="trained, 95 % interval")
    if entry.seeds:
        axes.plot(entry.seeds["mean"][metric], place, "|", color=TRAINED, markersize=16, label="mean over seeds")
    if entry.untrained:
        axes.plot(entry.untrained[metric], place, "o", color=UNTRAINED, fillstyle="none", label="untrained backbone")


def _one_of_each(axes: "Axes") -> tuple[list[Any], list[str]]:
    """The legend's entries, each label once."""
    by_label = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(by_label.values()), list(by_label)
