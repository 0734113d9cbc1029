"""The training report: one HTML file that needs nothing else, with curves, a map of the photos and their neighbours."""

import base64
import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image
from sklearn.manifold import TSNE

from retrieval.images import ResizeRule, read_pixels
from retrieval.neighbours import Embeddings, ranked_without_self
from retrieval.photos import PhotoRef
from trainer.backbones.base import Backbone
from trainer.data import Dataset, labels_of
from trainer.recipes import Recipe
from trainer.training import Epoch

NEIGHBOURS = 6
QUERIES_PER_CLASS = 2
MOST_QUERIES = 20
MOST_POINTS = 2000
THUMBNAIL = ResizeRule(size=120, shorter_side=120)
MAP_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#8b6f00",
    "#5b3fa8",
    "#7f7f7f",
    "#a01b1b",
)
MARKERS = "osD^vPX*<>"
FIGURE_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#c4c8ce",
    "axes.grid": True,
    "axes.labelcolor": "#4a5058",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": "#eceef1",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "xtick.color": "#4a5058",
    "ytick.color": "#4a5058",
}


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        backbone: what was trained.
        recipe: how.
        dataset: on what.
        seed: of all that was drawn, the map and the choice of queries included.
        epochs: how it went.
        metrics: by split, and under `untrained` by split.
        split: the split that is shown.
        embeddings: of its photos, float32 [photos, d].
    """

    backbone: Backbone
    recipe: Recipe
    dataset: Dataset
    seed: int
    epochs: list[Epoch]
    metrics: dict[str, Any]
    split: str
    embeddings: Embeddings


@dataclass(frozen=True)
class Shown:
    """A photo in the report: its picture as a data URI, its label, and, for a neighbour, distance and verdict."""

    picture: str
    label: str
    distance: float = 0.0
    right: bool = True


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file."""
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html")
    page = template.render(
        report=report,
        trained=report.metrics[report.split],
        untrained=report.metrics["untrained"][report.split],
        curves=_curves(report.epochs),
        map=_map(report),
        queries=_queries(report),
    )
    path.write_text(page, encoding="utf-8")


def _curves(epochs: list[Epoch]) -> Markup:
    """Loss and validation MAP@R by epoch, as inline SVG."""
    numbers = [epoch.number for epoch in epochs]
    best = max(epochs, key=lambda epoch: epoch.map_at_r)
    with _style():
        figure = Figure(figsize=(9, 3), layout="constrained")
        loss, quality = figure.subplots(1, 2)
        loss.plot(numbers, [epoch.loss for epoch in epochs], color="#d55e00", marker="o", markersize=4)
        loss.set(title="Training loss", xlabel="epoch")
        quality.plot(numbers, [epoch.map_at_r for epoch in epochs], color="#0072b2", marker="o", markersize=4)
        quality.plot(best.number, best.map_at_r, "o", color="#0072b2", markersize=10, fillstyle="none")
        quality.annotate(
            f"kept: {best.map_at_r:.3f}",
            (best.number, best.map_at_r),
            (-8, -16),
            textcoords="offset points",
            ha="right",
        )
        quality.set(title="MAP@R on the validation photos", xlabel="epoch")
        for axes in (loss, quality):
            axes.xaxis.get_major_locator().set_params(integer=True)
        return _svg(figure)


def _map(report: Report) -> Markup:
    """t-SNE of the shown split, a colour and a marker for each class, as inline SVG."""
    labels = labels_of(report.dataset.split(report.split))
    chosen = np.sort(np.random.default_rng(report.seed).permutation(len(labels))[:MOST_POINTS])
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=report.seed).fit_transform(report.embeddings[chosen])
    with _style():
        figure = Figure(figsize=(9, 6), layout="constrained")
        axes = figure.subplots()
        for number, label in enumerate(np.unique(labels)):
            of_class = points[labels[chosen] == label]
            colour, marker = MAP_COLOURS[number % len(MAP_COLOURS)], MARKERS[number // len(MAP_COLOURS) % len(MARKERS)]
            axes.scatter(
                of_class[:, 0],
                of_class[:, 1],
                s=14,
                color=colour,
                marker=marker,
                alpha=0.8,
                linewidths=0,
                label=_plain(label),
            )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if len(np.unique(labels)) <= len(MAP_COLOURS) * 2:
            figure.legend(loc="outside right upper", markerscale=2)
        return _svg(figure)


def _queries(report: Report) -> list[tuple[Shown, list[Shown]]]:
    """A few photos of each class, each with its nearest neighbours."""
    photos = report.dataset.split(report.split)
    labels = labels_of(photos)
    ranked = ranked_without_self(report.embeddings)[:, :NEIGHBOURS]
    rows = []
    for query in _drawn(labels, report.seed):
        scores = report.embeddings[ranked[query]] @ report.embeddings[query]
        distances = np.sqrt(np.maximum(0.0, 2 - 2 * scores))
        neighbours = [
            _shown(photos[other], float(distance), labels[other] == labels[query])
            for other, distance in zip(ranked[query], distances, strict=True)
        ]
        rows.append((_shown(photos[query]), neighbours))
    return rows


def _drawn(labels: npt.NDArray[np.str_], seed: int) -> list[int]:
    """Positions of the queries: the same number of each class, drawn by the seed."""
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(np.flatnonzero(labels == label))[:QUERIES_PER_CLASS] for label in np.unique(labels)]
    return [int(position) for position in np.concatenate(drawn)[:MOST_QUERIES]]


def _shown(photo: PhotoRef, distance: float = 0.0, right: bool = True) -> Shown:
    file = io.BytesIO()
    Image.fromarray(read_pixels(photo.path.read_bytes(), THUMBNAIL).pixels).save(file, "JPEG", quality=80)
    picture = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    return Shown(picture, str(photo.label), distance, bool(right))


def _style() -> AbstractContextManager[None]:
    return matplotlib.rc_context(FIGURE_STYLE)


def _plain(label: str) -> str:
    """A label as matplotlib takes it literally: no mathematics, no leading underscore that would hide it."""
    return "\u200b" + label.replace("$", r"\$")


def _svg(figure: Figure) -> Markup:
    """A figure as an `<svg>` element, without the XML declaration that precedes it in a file of its own."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    return Markup(text[text.index("<svg") :])
