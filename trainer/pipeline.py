"""From labelled photos to a model bundle: the whole of `lookalike train`."""

import csv
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retrieval.bundle import Bundle, TrainingData, write_bundle
from retrieval.neighbours import Embeddings
from trainer.backbones.base import Backbone
from trainer.data import Dataset, Say, check_trainable, labels_of, read_all
from trainer.duplicates import Duplicate, find_duplicates, warning
from trainer.evaluation import evaluate_embeddings
from trainer.network import embed
from trainer.report.page import Report, write_report
from trainer.runs import ONNX, WEIGHTS, Photos, Plan, Run, best_run, over_seeds, train_run, train_runs
from trainer.training import Epoch, LabelledImages, sample_batch

LIBRARIES = ("tensorflow", "tensorflow-addons", "tf2onnx", "onnxruntime", "numpy", "pillow")


def train_bundle(dataset: Dataset, plan: Plan, *, seed: int, seeds: int, out: Path, say: Say) -> Bundle:
    """Train a network, export it, measure it, and write its bundle with a report.

    Args:
        dataset: labelled photos in splits.
        plan: what to train.
        seed: of the first training and of the report; the splits are drawn already.
        seeds: how many networks to train, with seed, seed + 1, …; the bundle is the one that is best on the
            validation photos.
        out: where the bundle shall be.
        say: takes what the user should know.

    Returns:
        The bundle, whole; nothing is written where anything fails.

    Raises:
        LookalikeError: too few photos, weights that can't be had, or an export that is not faithful.
    """
    check_trainable(dataset, say)
    duplicates = find_duplicates(dataset.photos, dataset.fingerprints)
    if duplicates:
        say(warning(duplicates))
    photos = {split: _read(dataset, split, plan.backbone) for split in dataset.counts}
    untrained = _untrained(plan, photos, seed)
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:

        def train_one(number: int) -> Run:
            return train_run(plan, photos, number, Path(temporary, f"seed-{number}"), say)

        runs = train_runs(train_one, seed, seeds, say)
        kept = best_run(runs)
        metrics = _metrics(runs, kept, untrained, photos)
        training = Path(temporary, "training")
        training.mkdir()
        _write_figures(training, kept, metrics, duplicates)
        sample = sample_batch(photos["train"], plan.backbone, plan.recipe, seed)
        write_report(
            training / "report.html",
            Report(plan, dataset, seed, runs, kept, metrics, untrained, duplicates, sample),
        )
        return write_bundle(
            out,
            kept.folder / ONNX,
            training,
            backbone=plan.backbone.name,
            recipe=plan.recipe.name,
            dimension=plan.dimension,
            resize=plan.backbone.resize,
            classes=dataset.classes,
            training_data=TrainingData(name=dataset.name, digest=dataset.digest, counts=dataset.counts),
            seed=seed,
            metrics=metrics,
            parity=kept.parity,
            versions={library: version(library) for library in LIBRARIES},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _read(dataset: Dataset, split: str, backbone: Backbone) -> LabelledImages:
    photos = dataset.split(split)
    return LabelledImages(read_all(photos, backbone.resize), labels_of(photos))


def _untrained(plan: Plan, photos: Photos, seed: int) -> dict[str, Embeddings]:
    """The backbone's own features of the held-out photos, by split, scaled to unit length."""
    features = plan.build(seed).features_only()
    return {split: embed(features, of_split.images) for split, of_split in photos.items() if split != "train"}


def _metrics(runs: list[Run], kept: Run, untrained: Mapping[str, Embeddings], photos: Photos) -> dict[str, Any]:
    """The figures as the bundle keeps them: by split, `untrained` by split, `training`, and `seeds` where several."""
    metrics: dict[str, Any] = {split: evaluation.as_dict() for split, evaluation in kept.evaluations.items()}
    metrics["untrained"] = {
        split: evaluate_embeddings(embeddings, photos[split].labels).as_dict()
        for split, embeddings in untrained.items()
    }
    metrics["training"] = {
        "seconds": kept.epochs[-1].seconds,
        "epochs": len(kept.epochs),
        "parameters": kept.parameters,
    }
    if len(runs) > 1:
        metrics["seeds"] = over_seeds(runs, kept)
    return metrics


def _write_figures(folder: Path, kept: Run, metrics: Mapping[str, Any], duplicates: list[Duplicate]) -> None:
    """`history.csv`, `metrics.json` and the Keras weights."""
    (kept.folder / WEIGHTS).rename(folder / WEIGHTS)
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in kept.epochs)
    everything = {**metrics, "duplicates": [duplicate.as_dict() for duplicate in duplicates]}
    text = json.dumps(everything, indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
