"""From photos, with labels or without, to a bundle of a network that is not trained: the recipe `pretrained`."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.bundle import Bundle, write_bundle
from retrieval.bundle_format import PHOTOS, TrainingData
from retrieval.errors import LookalikeError
from retrieval.index.vectors import to_unit_length
from retrieval.metrics import BySplit, Metrics, SplitMetrics, TrainingCost
from retrieval.parts import Parts
from retrieval.photo_ref import display
from retrieval.top_k import Embeddings
from trainer.backbones.base import Backbone
from trainer.bundle_content import TRAINING, calibrated, made_now, read_held_out, write_photo_splits
from trainer.checkpoints import work_folder
from trainer.data import Dataset, LabelledImages, Say, read_all
from trainer.export import export_onnx, parity_of, run_onnx
from trainer.inference import run_in_batches, traced
from trainer.look import MOST_PHOTOS, fit_look
from trainer.network import LookNetwork, build_look_network, is_pretrained, prepared
from trainer.recipes.overrides import settings_of
from trainer.recipes.pretrained import PretrainedRecipe
from trainer.report.pretrained import PretrainedReport, write_pretrained_report
from trainer.runs import ONNX

Run = Callable[[npt.NDArray[np.uint8]], Embeddings]  # images uint8 [n, size, size, 3] → embeddings of a network


@dataclass(frozen=True)
class PretrainedPlan:
    """What to make a bundle of."""

    backbone: Backbone
    recipe: PretrainedRecipe  # with the settings that the user changed
    weights: str  # `auto` or a file; see `Backbone.build`
    changed: tuple[str, ...] = ()  # settings of the recipe that the user changed, each `setting=value`

    @property
    def fed(self) -> Backbone:
        """The backbone with the recipe's preparation of photos."""
        return prepared(self.backbone, self.recipe.preparation)


def pretrained_bundle(dataset: Dataset, plan: PretrainedPlan, *, seed: int, out: Path, say: Say) -> Bundle:
    """Fit the part look of a pretrained network to the training photos, measure it, and write its bundle with a report.

    If the photos have no labels, only the recall of edited copies is measured.

    Args:
        seed: of the augmented views; the splits are drawn already.
        out: the folder of the bundle.

    Raises:
        LookalikeError: there are too few photos, the weights are not available or not pretrained, or the exported
            network differs. Then no bundle is written.
    """
    _check(dataset, plan)
    start = time.monotonic()
    identity = {"weights": plan.weights, "recipe": settings_of(plan.recipe), "data": dataset.digest, "seed": seed}
    with work_folder(out, identity, say, resume=False) as work:
        network = _build(plan, dataset, seed, work)
        seconds = round(time.monotonic() - start, 1)
        say("Exporting the network and measuring it …")
        export_onnx(network, work / ONNX)
        photos = {split: read_held_out(dataset, split, plan.fed.resize, work) for split in dataset.held_out}
        model, parts, run = network.with_features(), Parts(network.parts), partial(run_onnx, work / ONNX)
        both = traced(model)
        embeddings = {split: run(of_split.images) for split, of_split in photos.items()}
        outputs = {split: run_in_batches(both, of_split.images) for split, of_split in photos.items()}
        parity = parity_of(outputs["val"][0], embeddings["val"])

        def features(images: npt.NDArray[np.uint8]) -> Embeddings:
            return to_unit_length(run_in_batches(both, images)[1])

        before = {split: to_unit_length(of_split[1]) for split, of_split in outputs.items()}
        metrics = Metrics(
            **{split: _metrics(of_split, run, embeddings[split]) for split, of_split in photos.items()},
            untrained=BySplit[SplitMetrics](
                **{split: _metrics(of_split, features, before[split]) for split, of_split in photos.items()}
            ),
            training=TrainingCost(seconds=seconds, parameters=model.count_params()),
        )
        report = PretrainedReport(plan.backbone, plan.recipe, plan.changed, dataset, metrics, embeddings)
        _write_training(work / TRAINING, report)
        write_photo_splits(work / PHOTOS, dataset)
        return write_bundle(
            out,
            work / ONNX,
            work / TRAINING,
            files={PHOTOS: work / PHOTOS},
            backbone=plan.backbone.name,
            recipe=plan.recipe.name,
            changed=plan.changed,
            dimension=network.look.length,
            parts=network.parts,
            resize=plan.fed.resize,
            classes=dataset.classes,
            training_data=TrainingData(name=dataset.name, digest=dataset.digest, counts=dataset.counts),
            seed=seed,
            metrics=metrics,
            parity=parity,
            calibration_data=calibrated(dataset, work / ONNX, embeddings["val"], parts, plan.fed.resize),
            **made_now(),
        )


def _check(dataset: Dataset, plan: PretrainedPlan) -> None:
    if not is_pretrained(plan.backbone, plan.weights):
        raise LookalikeError(
            f"The recipe {plan.recipe.name} trains nothing, and {plan.backbone.name} has no pretrained weights.",
            "Choose another backbone, or name a file with --weights.",
        )
    if not {"train", "val"} <= set(dataset.counts):
        raise LookalikeError(
            f"{display(dataset.name)} has too few photos for the recipe {plan.recipe.name}: it needs six different "
            "ones, and fits the embedding to some and measures it on others.",
            "Add photos, or define the splits train and val with --splits.",
        )


def _build(plan: PretrainedPlan, dataset: Dataset, seed: int, work: Path) -> LookNetwork:
    """Return the network with its part look fitted to a sample of the training photos."""
    tf.keras.backend.clear_session()
    tf.keras.mixed_precision.set_global_policy("float32")
    tf.keras.utils.set_random_seed(seed)
    network = build_look_network(plan.fed, plan.weights, plan.recipe.dimension)
    photos = dataset.split("train")
    drawn = [photos[place] for place in np.random.default_rng(seed).permutation(len(photos))[:MOST_PHOTOS]]
    images = read_all(drawn, plan.fed.resize, dataset.decoder, file=work / "train.pixels")
    fit_look(network.look, images, np.arange(len(drawn)), plan.fed, seed)
    return network


def _metrics(photos: LabelledImages, run: Run, embeddings: Embeddings) -> SplitMetrics:
    copies = None if photos.copies is None else run(photos.copies)
    return evaluate_embeddings(embeddings, photos.labels, roles=photos.roles, copies=copies).metrics()


def _write_training(folder: Path, report: PretrainedReport) -> None:
    """Write the content of the bundle's `training/`: `metrics.json` and the report."""
    folder.mkdir()
    text = json.dumps(report.metrics.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    write_pretrained_report(folder / "report.html", report)
