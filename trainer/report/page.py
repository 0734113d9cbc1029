"""The training report: one self-contained HTML file."""

import base64
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from retrieval.analysis.copies import original_ranks
from retrieval.analysis.label_issues import VOTERS
from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.metrics import Metrics
from retrieval.photo_ref import PhotoRef, display
from retrieval.source_policy import SourcePolicy
from retrieval.top_k import Embeddings, Positions, Scores, top_k, top_k_of_each
from trainer.data import Dataset, LabelledImages, labels_of, read_copy
from trainer.report import charts
from trainer.report.findings import best_and_worst, confusion, label_issues, shown_copies
from trainer.report.templates import render
from trainer.roles import roles_of
from trainer.runs import Plan, Run
from trainer.schedules import planned_learning_rates, timetable
from trainer.split_overlap import Duplicate

NEIGHBOURS = 6
MOST_QUERIES = 8
MOST_COPIES = 8
MOST_ISSUES = 12
MOST_DUPLICATES = 20
MOST_VIEWS = 30
MOST_CLASSES_CROSSED = 20
MOST_MISTAKES = 5
THUMBNAIL = ResizeRule(size=120, shorter_side=120)
ANY_SIZE = SourcePolicy(max_pixels=sys.maxsize)


@dataclass(frozen=True)
class Report:
    """The content of a report."""

    plan: Plan
    dataset: Dataset
    seed: int  # of splits, sample batch and map
    runs: Sequence[Run]
    kept: Run  # the run whose network is in the bundle
    metrics: Metrics  # of the kept run, the untrained backbone, and all seeds
    untrained: dict[str, Embeddings]  # of the untrained backbone by held-out split, float32 [photos, f], unit length
    duplicates: Sequence[Duplicate]  # held-out photos that also occur in an earlier split
    sample: LabelledImages  # a batch of training photos after augmentation

    @property
    def split(self) -> str:
        """The split that is shown."""
        return self.metrics.shown_split


@dataclass(frozen=True)
class Shown:
    """A photo in the report."""

    picture: str  # a data URI
    label: str
    note: str = ""
    kind: str = ""  # `right` or `wrong` for a neighbour, `query` for a query


@dataclass(frozen=True)
class HeldOut:
    """The photos of one held-out split or several, and their embeddings, float32 [photos, d]."""

    photos: Sequence[PhotoRef]
    embeddings: Embeddings
    groups: npt.NDArray[np.generic] | None = None  # of each photo; its neighbours are of other groups

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """The class of each photo, str [photos]."""
        return labels_of(self.photos)

    @cached_property
    def nearest(self) -> tuple[Scores, Positions]:
        """The scores and positions of each photo's ten nearest neighbours, [photos, 10]; −∞ and −1 past the last."""
        return top_k_of_each(self.embeddings, VOTERS, groups=self.groups)

    def row(self, position: int, note: str) -> list[Shown]:
        """A photo and its nearest neighbours with their distances, marked as right or wrong."""
        query = self.photos[position]
        scores, positions = (of_each[position, :NEIGHBOURS] for of_each in self.nearest)
        distances = np.sqrt(np.maximum(0.0, 2 - 2 * scores))
        neighbours = [
            _shown(
                self.photos[other],
                f"distance {distance:.3f}",
                "right" if self.photos[other].label == query.label else "wrong",
            )
            for other, distance in zip(positions, distances, strict=True)
            if other >= 0
        ]
        return [_shown(query, note, "query"), *neighbours]


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file."""
    split = report.split
    photos, trained = report.dataset.split(split), report.metrics.of(split)
    shown = HeldOut(photos, report.kept.embeddings[split], roles_of(photos).groups)
    best, worst = best_and_worst(report.kept.evaluations[split], shown.nearest[0][:, 0], MOST_QUERIES)
    page = render(
        "report.html",
        report=report,
        trained=trained,
        untrained=report.metrics.untrained and report.metrics.untrained.of(split),
        curves=charts.training_curves([run.epochs for run in report.runs], report.kept.epochs, report.kept.kept),
        rates=_learning_rates(report),
        by_look=charts.metrics_by_look(trained.by_look, report.kept.parts) if trained and trained.by_look else None,
        copies=_copies(report),
        sample=_sample(report.sample),
        maps=charts.maps({"before": report.untrained[split], "after": shown.embeddings}, shown.labels, report.seed),
        best=[shown.row(position, "query") for position in best],
        worst=[shown.row(position, "query") for position in worst],
        label_issues=_label_issues(report),
        duplicates=_duplicates(report.duplicates[:MOST_DUPLICATES]),
        **_mistakes(shown),
    )
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def _learning_rates(report: Report) -> Markup:
    plan = report.plan
    table = timetable(plan.recipe, report.dataset.counts["train"], plan.pretrained)
    rates = planned_learning_rates(plan.recipe, table, plan.pretrained, report.kept.seed)
    return charts.learning_rate_curves(rates, table.steps_until_end_of(report.kept.epochs[-1].number))


def _sample(batch: LabelledImages) -> list[Shown]:
    chosen = np.linspace(0, len(batch.labels) - 1, min(MOST_VIEWS, len(batch.labels))).astype(int)
    return [Shown(_data_uri(Image.fromarray(batch.images[place])), str(batch.labels[place])) for place in chosen]


def _copies(report: Report) -> list[list[Shown]]:
    """Edited copies of photos, each followed by the photos that it found first."""
    photos, copies = report.dataset.split(report.split), report.kept.copies.get(report.split)
    if copies is None:
        return []
    gallery = report.kept.embeddings[report.split]
    ranks = original_ranks(gallery, copies)
    chosen = shown_copies(ranks, MOST_COPIES)
    rows = []
    for position, scores, found in zip(chosen, *top_k(gallery, copies[chosen], NEIGHBOURS), strict=True):
        content = read_copy(photos[position], report.dataset.decoder)
        copy = Shown(_thumbnail(content), str(photos[position].label), f"original at rank {ranks[position]}", "query")
        results = [
            _shown(photos[other], f"score {score:.3f}", "right" if other == position else "")
            for score, other in zip(scores, found, strict=True)
        ]
        rows.append([copy, *results])
    return rows


def _label_issues(report: Report) -> list[list[Shown]]:
    """Held-out photos whose neighbours agree on another label; the network has not memorized their labels."""
    splits = sorted(report.kept.embeddings)
    photos = [photo for split in splits for photo in report.dataset.split(split)]
    held_out = HeldOut(photos, np.concatenate([report.kept.embeddings[split] for split in splits]))
    found = label_issues(held_out.labels, held_out.nearest[1])[:MOST_ISSUES]
    return [held_out.row(place, f"neighbours: {issue.suggested} ({issue.confidence:.0%})") for place, issue in found]


def _duplicates(duplicates: Sequence[Duplicate]) -> list[tuple[Duplicate, Shown, Shown]]:
    def shown(photo: PhotoRef) -> Shown:
        return _shown(photo, f"{photo.split}: {display(photo.path.name)}")

    return [(duplicate, shown(duplicate.photo), shown(duplicate.original)) for duplicate in duplicates]


def _mistakes(held: HeldOut) -> dict[str, Any]:
    """How often each class is the nearest neighbour of each, as a table if it fits, and the most frequent mistakes."""
    counts = confusion(held.labels, held.nearest[1][:, 0])
    pairs = [
        (label, found, number, number / of_class.total())
        for label, of_class in counts.items()
        for found, number in of_class.items()
        if found != label
    ]
    return {
        "crossed": counts if len(counts) <= MOST_CLASSES_CROSSED else None,
        "mistakes": sorted(pairs, key=lambda pair: -pair[2])[:MOST_MISTAKES],
    }


def _shown(photo: PhotoRef, note: str, kind: str = "") -> Shown:
    return Shown(_thumbnail(photo.path.read_bytes()), str(photo.label), note, kind)


def _thumbnail(content: bytes) -> str:
    return _data_uri(Image.fromarray(PhotoDecoder(ANY_SIZE).read_pixels(content, THUMBNAIL).pixels))


def _data_uri(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL.size, THUMBNAIL.size))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
