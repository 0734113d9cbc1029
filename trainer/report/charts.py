"""The charts of reports, as SVG that takes its colours from the page around it, light or dark."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from retrieval.analysis.projection import project_2d
from retrieval.metrics import ALL_METRICS, COPY_METRICS, Means
from retrieval.parts import Parts
from retrieval.top_k import Embeddings

if TYPE_CHECKING:
    from trainer.training import Epoch

MOST_POINTS = 1000
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8b6f00", "#7b5fc8", "#8f8f8f", "#b03a3a"]
MARKERS = "osD^vPX*<>"
BY_LOOK = ("recall_at_1", "precision_at_5", "map_at_r", *COPY_METRICS)
LOSS, QUALITY = "#d55e00", "#0072b2"

# The colours that matplotlib draws with, and the variables of the page that replace them.
INK, LINE = "#4a5058", "#e3e6e9"
THEME = {INK: "var(--soft)", LINE: "var(--line)"}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": LINE,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "font.size": 10,
    "grid.color": LINE,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def training_curves(runs: Sequence[Sequence["Epoch"]], shown: Sequence["Epoch"], kept: "Epoch") -> Markup:
    """Loss, validation loss and validation MAP@R by epoch.

    Args:
        shown: those of the training whose network is in the bundle; the others are drawn fainter.
        kept: its epoch with the weights that were kept.
    """
    with style():
        figure = Figure(figsize=(9, 3), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        for epochs in [*(run for run in runs if run is not shown), shown]:
            numbers = [epoch.number for epoch in epochs]
            look: dict[str, Any] = {"marker": "o", "markersize": 4} if epochs is shown else {"alpha": 0.3}
            loss.plot(numbers, [epoch.loss for epoch in epochs], color=LOSS, **look)
            loss.plot(numbers, [epoch.val_loss for epoch in epochs], "--", color=QUALITY, **look)
            quality.plot(numbers, [epoch.map_at_r for epoch in epochs], color=QUALITY, **look)
        quality.plot(kept.number, kept.map_at_r, "o", color=QUALITY, markersize=10, fillstyle="none")
        loss.set(title="Loss", xlabel="epoch")
        loss.legend(loss.lines[-2:], ["training", "validation"])
        quality.set(title=f"MAP@R on the validation photos, kept at {kept.map_at_r:.3f}", xlabel="epoch")
        for axes in (loss, quality):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        return svg(figure)


def metrics_by_look(by_look: Mapping[str, Means], parts: Parts) -> Markup:
    """The metrics by the weight of the part look, a line each, and the default weight."""
    looks = [float(look) for look in by_look]
    with style():
        figure = Figure(figsize=(9, 3), layout="constrained")
        axes = figure.subplots()
        for metric, colour, marker in zip(BY_LOOK, COLOURS, MARKERS, strict=False):
            means = [mean for of_look in by_look.values() if (mean := of_look[metric]) is not None]
            if len(means) == len(looks):
                axes.plot(looks, means, color=colour, marker=marker, markersize=4, label=ALL_METRICS[metric])
        if parts.default_look is not None:
            axes.axvline(parts.default_look, color=INK, linestyle=":", label="default")
        axes.set(xlabel="weight of look: 0 is kind alone, 1 is look alone", xticks=looks)
        figure.legend(loc="outside right upper")
        return svg(figure)


def learning_rate_curves(rates: Mapping[str, npt.NDArray[np.float32]], taken: int) -> Markup:
    """Learning rates by step, a line each for head and backbone, and the step at which training ended.

    The rates of `head` and `backbone` are float32 [steps], NaN while their layers are frozen.
    """
    with style():
        figure = Figure(figsize=(9, 2.4), layout="constrained")
        axes = figure.subplots()
        for (name, values), colour, line in zip(rates.items(), COLOURS, ("-", "--"), strict=False):
            axes.plot(np.arange(1, len(values) + 1), values, line, color=colour, label=name)
        if taken < max(map(len, rates.values())):
            axes.axvline(taken, color=INK, linestyle=":", label="training ended")
        axes.set(xlabel="step")
        axes.margins(x=0.01)
        figure.legend(loc="outside right upper")
        return svg(figure)


def maps(panels: Mapping[str, Embeddings], labels: npt.NDArray[np.str_], seed: int) -> Markup:
    """t-SNE of the same photos by several embeddings, side by side, with a colour and a marker for each class.

    Args:
        panels: title → float32 [photos, d].
        labels: str [photos].
        seed: of t-SNE, and of the sample that is drawn if there are more than a thousand photos.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST_POINTS])
    with style():
        figure = Figure(figsize=(9, 4.9), layout="constrained")
        for axes, (title, embeddings) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            _scatter(axes, project_2d(embeddings[chosen], seed=seed), labels[chosen])
            axes.set(title=title, xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        if len(np.unique(labels)) <= 2 * len(COLOURS):
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=6, markerscale=2)
        return svg(figure)


def style() -> AbstractContextManager[None]:
    """A context in which all charts have the style of the report."""
    return matplotlib.rc_context(STYLE)


def svg(figure: Figure) -> Markup:
    """A figure as an `<svg>` element that takes the colours of text and lines from the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    return Markup(text[text.index("<svg") :])  # without the XML declaration


def plain(label: str) -> str:
    """A label escaped for matplotlib, which would typeset mathematics and hide a leading underscore."""
    return "\u200b" + label.replace("$", r"\$")


def _scatter(axes: Axes, points: npt.NDArray[np.float32], labels: npt.NDArray[np.str_]) -> None:
    for number, label in enumerate(np.unique(labels)):
        of_class = points[labels == label]
        axes.scatter(
            of_class[:, 0],
            of_class[:, 1],
            s=14,
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
            alpha=0.8,
            linewidths=0,
            label=plain(str(label)),
        )
