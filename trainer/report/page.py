"""The training report: one HTML file that needs nothing else."""

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

from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.neighbours import Embeddings, ranked_without_self
from retrieval.photo_ref import PhotoRef, display
from retrieval.source_policy import SourcePolicy
from trainer.data import Dataset, LabelledImages, labels_of
from trainer.evaluation import shown_split
from trainer.report import charts
from trainer.report.findings import best_and_worst, confusion, suspects
from trainer.report.templates import render
from trainer.runs import Plan, Run
from trainer.schedules import planned_learning_rates, timetable
from trainer.split_overlap import Duplicate

NEIGHBOURS = 6
MOST_QUERIES = 8
MOST_SUSPECTS = 12
MOST_DUPLICATES = 20
MOST_VIEWS = 30
MOST_CLASSES_CROSSED = 20
MOST_MISTAKES = 5
THUMBNAIL = ResizeRule(size=120, shorter_side=120)
ANY_SIZE = SourcePolicy(max_pixels=sys.maxsize)


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        plan: what was trained.
        dataset: on what.
        seed: of splits, sample batch and map.
        runs: each training.
        kept: the one whose network is in the bundle.
        metrics: by split, under `untrained` by split, and under `seeds` where there are several.
        untrained: the backbone's own features by held-out split, float32 [photos, f], unit length.
        duplicates: photos that an earlier split has, too.
        sample: a batch after augmentation.
    """

    plan: Plan
    dataset: Dataset
    seed: int
    runs: Sequence[Run]
    kept: Run
    metrics: dict[str, Any]
    untrained: dict[str, Embeddings]
    duplicates: Sequence[Duplicate]
    sample: LabelledImages

    @property
    def split(self) -> str:
        """The split that is shown."""
        return shown_split(self.metrics)


@dataclass(frozen=True)
class Shown:
    """A photo in the report.

    Attributes:
        picture: a data URI.
        label: its class.
        note: what is said of it.
        kind: `right` or `wrong` for a neighbour, `asked` for a query.
    """

    picture: str
    label: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class HeldOut:
    """Photos of a split (or several) and how they lie to each other: the k-th nearest of photo i is `ranked[i, k]`."""

    photos: Sequence[PhotoRef]
    embeddings: Embeddings

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """Their labels."""
        return labels_of(self.photos)

    @cached_property
    def ranked(self) -> npt.NDArray[np.int64]:
        """For each photo all others, nearest first."""
        return ranked_without_self(self.embeddings)

    def row(self, position: int, note: str) -> list[Shown]:
        """A photo, then its nearest neighbours with their distances, right and wrong ones told apart."""
        query = self.photos[position]
        nearest = self.ranked[position, :NEIGHBOURS]
        scores = self.embeddings[nearest] @ self.embeddings[position]
        distances = np.sqrt(np.maximum(0.0, 2 - 2 * scores))
        neighbours = [
            _shown(
                self.photos[other],
                f"distance {distance:.3f}",
                "right" if self.photos[other].label == query.label else "wrong",
            )
            for other, distance in zip(nearest, distances, strict=True)
        ]
        return [_shown(query, note, "asked"), *neighbours]


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file."""
    split = report.split
    shown = HeldOut(report.dataset.split(split), report.kept.embeddings[split])
    best, worst = best_and_worst(shown.embeddings, shown.labels, shown.ranked, MOST_QUERIES)
    page = render(
        "report.html",
        report=report,
        trained=report.metrics[split],
        untrained=report.metrics["untrained"][split],
        curves=charts.training_curves([run.epochs for run in report.runs], report.kept.epochs, report.kept.kept),
        rates=_learning_rates(report),
        sample=_sample(report.sample),
        maps=charts.maps({"before": report.untrained[split], "after": shown.embeddings}, shown.labels, report.seed),
        best=[shown.row(position, "query") for position in best],
        worst=[shown.row(position, "query") for position in worst],
        suspects=_suspects(report),
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


def _suspects(report: Report) -> list[list[Shown]]:
    """Held-out photos whose neighbours agree on another label; the network has not learnt their labels by heart."""
    splits = sorted(report.kept.embeddings)
    photos = [photo for split in splits for photo in report.dataset.split(split)]
    held_out = HeldOut(photos, np.concatenate([report.kept.embeddings[split] for split in splits]))
    found = suspects(held_out.labels, held_out.ranked)[:MOST_SUSPECTS]
    return [held_out.row(one.position, f"neighbours: {one.proposed} ({one.share:.0%})") for one in found]


def _duplicates(duplicates: Sequence[Duplicate]) -> list[tuple[Duplicate, Shown, Shown]]:
    def shown(photo: PhotoRef) -> Shown:
        return _shown(photo, f"{photo.split}: {display(photo.path.name)}")

    return [(duplicate, shown(duplicate.photo), shown(duplicate.original)) for duplicate in duplicates]


def _mistakes(held: HeldOut) -> dict[str, Any]:
    """How often each class is the nearest neighbour of each, as a table where it fits, and the worst in a list."""
    counts = confusion(held.labels, held.ranked)
    pairs = [
        (asked, found, number, number / of_class.total())
        for asked, of_class in counts.items()
        for found, number in of_class.items()
        if found != asked
    ]
    return {
        "crossed": counts if len(counts) <= MOST_CLASSES_CROSSED else None,
        "mistakes": sorted(pairs, key=lambda pair: -pair[2])[:MOST_MISTAKES],
    }


def _shown(photo: PhotoRef, note: str, kind: str = "") -> Shown:
    picture = Image.fromarray(PhotoDecoder(ANY_SIZE).read_pixels(photo.path.read_bytes(), THUMBNAIL).pixels)
    return Shown(_data_uri(picture), str(photo.label), note, kind)


def _data_uri(picture: Image.Image) -> str:
    picture.thumbnail((THUMBNAIL.size, THUMBNAIL.size))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
