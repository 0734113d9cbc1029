"""From labelled photos to a model bundle: the whole of `lookalike train`."""

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.analysis.calibration import calibrate
from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.bundle import Bundle, TrainingData, write_bundle
from retrieval.session import runtime_version
from retrieval.top_k import Embeddings
from trainer.augmented_views import sample_batch
from trainer.checkpoints import work_folder
from trainer.data import Dataset, LabelledImages, Say, check_trainable, labels_of, read_all
from trainer.network import embed
from trainer.quantization import CALIBRATION_PHOTOS, quantized
from trainer.recipes.overrides import settings_of
from trainer.report.page import Report, write_report
from trainer.runs import WEIGHTS, Photos, Plan, Run, best_run, over_seeds, train_run, train_runs
from trainer.split_overlap import Duplicate, find_duplicates, warning
from trainer.training import Epoch

LIBRARIES = ("tensorflow", "tensorflow-addons", "tf2onnx", "numpy", "pillow")


def train_bundle(
    dataset: Dataset, plan: Plan, *, seed: int, seeds: int, out: Path, say: Say, resume: bool = False
) -> Bundle:
    """Train a network, export it, measure it, and write its bundle with a report.

    Args:
        dataset: labelled photos in splits.
        plan: what to train.
        seed: of the first training and of the report; the splits are drawn already.
        seeds: how many networks to train, with seed, seed + 1, …; the bundle is the one that is best on the
            validation photos.
        out: where the bundle shall be; what there is of an unfinished training lies beside it.
        say: takes what the user should know.
        resume: whether to go on with an unfinished training of the same plan.

    Returns:
        The bundle, whole; no bundle is written where anything fails.

    Raises:
        LookalikeError: too few photos, weights that can't be had, an unfinished training that had another plan, or an
            export that is not faithful.
    """
    check_trainable(dataset, say)
    duplicates = find_duplicates(dataset.photos, dataset.fingerprints)
    if duplicates:
        say(warning(duplicates))
    photos = {split: _read(dataset, split, plan) for split in dataset.counts}
    untrained = _untrained(plan, photos, seed)
    with work_folder(out, _identity(dataset, plan, seed), say, resume) as work:

        def train_one(number: int) -> Run:
            return train_run(plan, photos, number, work / f"seed-{number}", say)

        runs = train_runs(train_one, seed, seeds, say)
        kept, quantization = best_run(runs), None
        if plan.precision == "int8":
            kept, quantization = quantized(kept, photos, _calibration_photos(dataset, plan, seed), say)
        metrics = _metrics(runs, kept, untrained, photos, quantization)
        training = work / "training"
        training.mkdir(exist_ok=True)
        _write_figures(training, kept, metrics, duplicates)
        sample = sample_batch(photos["train"], plan.fed, plan.recipe, seed)
        report = Report(plan, dataset, seed, runs, kept, metrics, untrained, duplicates, sample)
        write_report(training / "report.html", report)
        return write_bundle(
            out,
            kept.network,
            training,
            backbone=plan.backbone.name,
            recipe=plan.recipe.name,
            changed=plan.changed,
            dimension=plan.recipe.dimension,
            resize=plan.fed.resize,
            classes=dataset.classes,
            training_data=TrainingData(name=dataset.name, digest=dataset.digest, counts=dataset.counts),
            seed=seed,
            metrics=metrics,
            precision=kept.precision,
            parity=kept.parity,
            calibration=calibrate(kept.embeddings["val"], photos["val"].labels),
            versions={library: version(library) for library in LIBRARIES} | {"onnxruntime": runtime_version()},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _read(dataset: Dataset, split: str, plan: Plan) -> LabelledImages:
    photos, rule = dataset.split(split), plan.fed.resize
    if split == "train":
        rule = plan.recipe.preparation.train_rule(rule)
    return LabelledImages(read_all(photos, rule, dataset.decoder), labels_of(photos))


def _calibration_photos(dataset: Dataset, plan: Plan, seed: int) -> npt.NDArray[np.uint8]:
    """Some training photos as the network takes them; for training they may have been read larger."""
    photos = dataset.split("train")
    drawn = np.random.default_rng(seed).permutation(len(photos))[:CALIBRATION_PHOTOS]
    return read_all([photos[index] for index in drawn], plan.fed.resize, dataset.decoder)


def _identity(dataset: Dataset, plan: Plan, seed: int) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "backbone": plan.backbone.name,
        "weights": plan.weights,
        "recipe": {"name": plan.recipe.name} | settings_of(plan.recipe),
        "data": dataset.digest,
        "seed": seed,
        "precision": "mixed" if plan.mixed_precision else "float32",
    }


def _untrained(plan: Plan, photos: Photos, seed: int) -> dict[str, Embeddings]:
    """The backbone's own features of the held-out photos, by split, scaled to unit length."""
    features = plan.build(seed).features_only()
    return {split: embed(features, of_split.images) for split, of_split in photos.items() if split != "train"}


def _metrics(
    runs: list[Run],
    kept: Run,
    untrained: Mapping[str, Embeddings],
    photos: Photos,
    quantization: dict[str, Any] | None,
) -> dict[str, Any]:
    """The figures as the bundle keeps them: by split, `untrained` by split, `training`; where they are, more.

    That is `seeds` where there were several, and `quantization` where it was asked for, which has the figures of both
    networks; those by split are of the network that is in the bundle.
    """
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
    if quantization is not None:
        metrics["quantization"] = quantization
    return metrics


def _write_figures(folder: Path, kept: Run, metrics: Mapping[str, Any], duplicates: list[Duplicate]) -> None:
    """`history.csv`, `metrics.json` and the Keras weights."""
    shutil.copyfile(kept.folder / WEIGHTS, folder / WEIGHTS)
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in kept.epochs)
    everything = {**metrics, "duplicates": [duplicate.as_dict() for duplicate in duplicates]}
    text = json.dumps(everything, indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
