"""From labelled photos to a model bundle: `lookalike train`."""

import csv
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.analysis.evaluation import Evaluation, evaluate_by_look, evaluate_embeddings
from retrieval.bundle import Bundle, write_bundle
from retrieval.bundle_format import PHOTOS, TEXT_NETWORK, TOKENIZER, FileName, TrainingData
from retrieval.metrics import BySplit, Metrics, Quantization, SplitMetrics, TrainingCost
from retrieval.parts import LOOK
from retrieval.top_k import Embeddings
from trainer.augmented_views import sample_batch
from trainer.backbones.imported import ImportedNetwork
from trainer.bundle_content import TRAINING, calibrated, made_now, read_held_out, write_photo_splits
from trainer.checkpoints import work_folder
from trainer.data import Dataset, LabelledImages, Say, check_trainable, labels_of, read_all
from trainer.network import embed
from trainer.quantization import CALIBRATION_PHOTOS, quantized
from trainer.recipes.overrides import settings_of
from trainer.report.page import Report, write_report
from trainer.runs import WEIGHTS, Photos, Plan, Run, best_run, over_seeds, train_run, train_runs
from trainer.split_overlap import find_duplicates, warning
from trainer.training import Epoch


def train_bundle(
    dataset: Dataset, plan: Plan, *, seed: int, seeds: int, out: Path, say: Say, resume: bool = False
) -> Bundle:
    """Train a network, export it, measure it, and write its bundle with a report.

    Args:
        seed: of the first run and of the report; the splits are drawn already.
        seeds: number of runs, with seed, seed + 1, …; the bundle has the network that is best on the validation photos.
        out: the folder of the bundle; an unfinished training is stored beside it.
        resume: whether to resume an unfinished training of the same plan.

    Raises:
        LookalikeError: there are too few photos, weights are not available, the unfinished training has another plan,
            or the exported network differs from the trained one. Then no bundle is written.
    """
    check_trainable(dataset, say)
    duplicates = find_duplicates(dataset.photos, dataset.fingerprints)
    if duplicates:
        say(warning(duplicates))
    with work_folder(out, _identity(dataset, plan, seed), say, resume) as work:
        photos = {split: _read(dataset, split, plan, work) for split in dataset.counts}
        untrained = None if _look_is_untrained(plan) else _untrained(plan, photos, seed)
        runs = train_runs(
            lambda number: train_run(plan, photos, number, work / f"seed-{number}", say), seed, seeds, say
        )
        kept, quantization = best_run(runs), None
        untrained = untrained or (_looks(kept.embeddings, kept), _looks(kept.copies, kept))
        if plan.precision == "int8":
            kept, quantization = quantized(kept, photos, _calibration_photos(dataset, plan, seed), say)
        metrics = _metrics(runs, kept, _evaluated(photos, *untrained), photos, quantization)
        sample = sample_batch(photos["train"], plan.fed, plan.recipe, seed)
        report = Report(plan, dataset, seed, runs, kept, metrics, untrained[0], duplicates, sample)
        _write_training(work / TRAINING, report)
        return _write_bundle(out, work, report)


def _read(dataset: Dataset, split: str, plan: Plan, work: Path) -> LabelledImages:
    """Read the photos of a split, and edited copies of held-out ones, to files in the work folder."""
    photos, rule = dataset.split(split), plan.fed.resize
    if split == "train":
        rule = plan.recipe.preparation.train_rule(rule)
        return LabelledImages(read_all(photos, rule, dataset.decoder, file=work / "train.pixels"), labels_of(photos))
    return read_held_out(dataset, split, rule, work)


def _calibration_photos(dataset: Dataset, plan: Plan, seed: int) -> npt.NDArray[np.uint8]:
    """A sample of training photos at the network's input size; for training they may have been read larger."""
    photos = dataset.split("train")
    drawn = np.random.default_rng(seed).permutation(len(photos))[:CALIBRATION_PHOTOS]
    return read_all([photos[index] for index in drawn], plan.fed.resize, dataset.decoder)


def _identity(dataset: Dataset, plan: Plan, seed: int) -> dict[str, Any]:
    """What must be the same for a training to be resumed."""
    return {
        "backbone": plan.backbone.name,
        "weights": plan.backbone.bundle.model_id if isinstance(plan.backbone, ImportedNetwork) else plan.weights,
        "recipe": {"name": plan.recipe.name} | settings_of(plan.recipe),
        "data": dataset.digest,
        "seed": seed,
        "precision": "mixed" if plan.mixed_precision else "float32",
    }


def _look_is_untrained(plan: Plan) -> bool:
    """Whether the part look is the features of the backbone, so that they need not be computed again."""
    return not plan.backbone.trainable and plan.recipe.look is not None


def _looks(embeddings: Mapping[str, Embeddings], run: Run) -> dict[str, Embeddings]:
    return {split: run.parts.one(of_split, LOOK) for split, of_split in embeddings.items()}


def _untrained(plan: Plan, photos: Photos, seed: int) -> tuple[dict[str, Embeddings], dict[str, Embeddings]]:
    """The features of the untrained backbone for the held-out photos and their edited copies, of unit length."""
    model, features, copies = plan.build(seed).features_only(), {}, {}
    for split, of_split in photos.items():
        if of_split.copies is not None:
            features[split] = embed(model, of_split.images)
            copies[split] = embed(model, of_split.copies)
    return features, copies


def _evaluated(
    photos: Photos, features: Mapping[str, Embeddings], copies: Mapping[str, Embeddings]
) -> dict[str, Evaluation]:
    return {
        split: evaluate_embeddings(of_split, photos[split].labels, roles=photos[split].roles, copies=copies.get(split))
        for split, of_split in features.items()
    }


def _metrics(
    runs: list[Run], kept: Run, untrained: Mapping[str, Evaluation], photos: Photos, quantization: Quantization | None
) -> Metrics:
    trained = {}
    for split, evaluation in kept.evaluations.items():
        of_split = photos[split]
        by_look = evaluate_by_look(
            kept.embeddings[split], of_split.labels, kept.copies.get(split), kept.parts, of_split.roles
        )
        trained[split] = evaluation.metrics().model_copy(update={"by_look": by_look})
    return Metrics(
        **trained,
        untrained=BySplit[SplitMetrics](**{split: before.metrics() for split, before in untrained.items()}),
        training=TrainingCost(seconds=kept.seconds, epochs=len(kept.epochs), parameters=kept.record.parameters),
        seeds=over_seeds(runs, kept) if len(runs) > 1 else None,
        quantization=quantization,
    )


def _write_training(folder: Path, report: Report) -> None:
    """Write the content of the bundle's `training/`: Keras weights, `history.csv`, `metrics.json` and the report."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(report.kept.folder / WEIGHTS, folder / WEIGHTS)
    with (folder / "history.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in report.kept.epochs)
    metrics = report.metrics.model_dump(mode="json")
    metrics["duplicates"] = [duplicate.as_dict() for duplicate in report.duplicates]
    text = json.dumps(metrics, indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    write_report(folder / "report.html", report)


def _write_bundle(out: Path, work: Path, report: Report) -> Bundle:
    plan, dataset, kept = report.plan, report.dataset, report.kept
    write_photo_splits(work / PHOTOS, dataset)
    backbone = plan.backbone
    return write_bundle(
        out,
        kept.network,
        work / TRAINING,
        files={PHOTOS: work / PHOTOS, **_files_of_words(plan)},
        backbone=backbone.name,
        recipe=plan.recipe.name,
        changed=plan.changed,
        dimension=sum(part.length for part in kept.record.parts),
        parts=kept.record.parts,
        resize=plan.fed.resize,
        classes=dataset.classes,
        training_data=TrainingData(name=dataset.name, digest=dataset.digest, counts=dataset.counts),
        seed=report.seed,
        metrics=report.metrics,
        precision=kept.precision,
        origin=backbone.bundle.manifest.origin if isinstance(backbone, ImportedNetwork) else None,
        parity=kept.record.parity,
        calibration_data=calibrated(dataset, kept.network, kept.embeddings["val"], kept.parts, plan.fed.resize),
        **made_now(),
    )


def _files_of_words(plan: Plan) -> dict[FileName, Path]:
    """The files of an imported bundle with which photos are searched by words; they query the part look."""
    backbone = plan.backbone
    if plan.recipe.look is None or not isinstance(backbone, ImportedNetwork) or not backbone.bundle.has_text:
        return {}
    return {TEXT_NETWORK: backbone.bundle.text_network, TOKENIZER: backbone.bundle.tokenizer}
