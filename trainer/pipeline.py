"""From labelled photos to a model bundle: the whole of `lookalike train`."""

import csv
import json
import tempfile
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tensorflow as tf

from retrieval.bundle import Bundle, TrainingData, write_bundle
from retrieval.neighbours import Embeddings
from trainer.backbones.base import Backbone
from trainer.data import Dataset, Say, check_trainable, labels_of, read_all
from trainer.evaluation import evaluate_embeddings
from trainer.export import check_parity, export_onnx, run_onnx
from trainer.network import build_network, embed
from trainer.progress import TrainingProgress
from trainer.recipes import Recipe
from trainer.report import Report, write_report
from trainer.training import Epoch, LabelledImages, train_network

LIBRARIES = ("tensorflow", "tensorflow-addons", "tf2onnx", "onnxruntime", "numpy", "pillow")


def train_bundle(
    dataset: Dataset,
    backbone: Backbone,
    recipe: Recipe,
    *,
    weights: str,
    dimension: int,
    seed: int,
    out: Path,
    say: Say,
) -> Bundle:
    """Train a network, export it, measure it, and write its bundle with a report.

    Args:
        dataset: labelled photos in splits.
        backbone: what to build on.
        recipe: how to train.
        weights: `auto`, `none` or a file.
        dimension: length of the embeddings.
        seed: of all that is drawn.
        out: where the bundle shall be.
        say: takes what the user should know.

    Returns:
        The bundle, whole; nothing is written where anything fails.

    Raises:
        LookalikeError: too few photos, weights that can't be had, or an export that is not faithful.
    """
    check_trainable(dataset, say)
    tf.keras.utils.set_random_seed(seed)
    network = build_network(backbone, weights, dimension, recipe.head)
    photos = {split: _read(dataset, split, backbone) for split in dataset.counts}
    held_out = {split: photos[split] for split in photos if split != "train"}
    untrained = {split: embed(network.features_only(), held_out[split].images) for split in held_out}

    with TrainingProgress(recipe, network.pretrained, say) as progress:
        epochs = train_network(network, recipe, train=photos["train"], val=photos["val"], seed=seed, watcher=progress)

    say("Exporting the network and measuring it …")
    embedder = network.whole()
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:
        onnx, training = Path(temporary, "embedder.onnx"), Path(temporary, "training")
        export_onnx(embedder, onnx)
        parity = check_parity(embedder, onnx, photos["val"].images)
        trained = {split: run_onnx(onnx, held_out[split].images) for split in held_out}
        metrics = {**_evaluated(trained, held_out), "untrained": _evaluated(untrained, held_out)}
        training.mkdir()
        embedder.save_weights(training / "embedder.weights.h5")
        _write_history(training / "history.csv", epochs)
        (training / "metrics.json").write_text(json.dumps(metrics, indent=2, ensure_ascii=False), encoding="utf-8")
        shown = "test" if "test" in trained else "val"
        write_report(
            training / "report.html",
            Report(backbone, recipe, dataset, seed, epochs, metrics, shown, trained[shown]),
        )
        return write_bundle(
            out,
            onnx,
            training,
            backbone=backbone.name,
            recipe=recipe.name,
            dimension=dimension,
            resize=backbone.resize,
            classes=dataset.classes,
            training_data=TrainingData(name=dataset.name, digest=dataset.digest, counts=dataset.counts),
            seed=seed,
            metrics=metrics,
            parity=parity,
            versions={library: version(library) for library in LIBRARIES},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _read(dataset: Dataset, split: str, backbone: Backbone) -> LabelledImages:
    photos = dataset.split(split)
    return LabelledImages(read_all(photos, backbone.resize), labels_of(photos))


def _evaluated(embeddings: dict[str, Embeddings], photos: dict[str, LabelledImages]) -> dict[str, Any]:
    """Retrieval metrics by split."""
    return {split: evaluate_embeddings(embeddings[split], photos[split].labels).as_dict() for split in embeddings}


def _write_history(path: Path, epochs: list[Epoch]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in epochs)
