"""The report of a bundle that was not trained: one self-contained HTML file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retrieval.metrics import Metrics
from retrieval.top_k import Embeddings
from trainer.backbones.base import Backbone
from trainer.data import Dataset
from trainer.recipes.pretrained import PretrainedRecipe
from trainer.report.neighbours import HeldOut, Shown
from trainer.report.templates import render

MOST_QUERIES = 12


@dataclass(frozen=True)
class PretrainedReport:
    """The content of a report."""

    backbone: Backbone
    recipe: PretrainedRecipe
    changed: tuple[str, ...]  # settings of the recipe that the user changed, each `setting=value`
    dataset: Dataset
    metrics: Metrics
    embeddings: Mapping[str, Embeddings]  # by held-out split, float32 [photos, d], unit length

    @property
    def split(self) -> str:
        """The split that is shown."""
        return self.metrics.shown_split


def write_pretrained_report(path: Path, report: PretrainedReport) -> None:
    """Write the report: metrics, and some photos with their nearest neighbours."""
    held = HeldOut(report.dataset.split(report.split), report.embeddings[report.split])
    chosen = np.linspace(0, len(held.photos) - 1, min(MOST_QUERIES, len(held.photos))).astype(int).tolist()
    page = render(
        "pretrained.html",
        report=report,
        measured=report.metrics.of(report.split),
        untrained=report.metrics.untrained and report.metrics.untrained.of(report.split),
        queries=[[_shown(one, report.dataset) for one in held.row(place, "query")] for place in chosen],
    )
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def _shown(photo: Shown, dataset: Dataset) -> Shown:
    """A photo without label and verdict if the photos have no labels."""
    return photo if dataset.classes else replace(photo, label="", kind=photo.kind if photo.kind == "query" else "")
