"""The training report: one self-contained HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from retrieval.analysis.copies import original_ranks
from retrieval.metrics import Metrics
from retrieval.photo_ref import PhotoRef, display
from retrieval.top_k import Embeddings, top_k
from trainer.data import Dataset, LabelledImages, read_copy
from trainer.report import charts
from trainer.report.findings import best_and_worst, confusion, label_issues, shown_copies
from trainer.report.neighbours import NEIGHBOURS, HeldOut, Shown, data_uri, shown_photo, thumbnail
from trainer.report.templates import render
from trainer.roles import roles_of
from trainer.runs import Plan, Run
from trainer.schedules import planned_learning_rates, timetable
from trainer.split_overlap import Duplicate

MOST_QUERIES = 8
MOST_COPIES = 8
MOST_ISSUES = 12
MOST_DUPLICATES = 20
MOST_VIEWS = 30
MOST_CLASSES_CROSSED = 20
MOST_MISTAKES = 5


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
    return [Shown(data_uri(Image.fromarray(batch.images[place])), str(batch.labels[place])) for place in chosen]


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
        copy = Shown(thumbnail(content), str(photos[position].label), f"original at rank {ranks[position]}", "query")
        results = [
            shown_photo(photos[other], f"score {score:.3f}", "right" if other == position else "")
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
        return shown_photo(photo, f"{photo.split}: {display(photo.path.name)}")

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
