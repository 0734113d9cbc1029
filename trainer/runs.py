"""Training with one seed or several: what each run came to, and how far chance moves the figures."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from retrieval.bundle import Parity
from retrieval.neighbours import Embeddings
from trainer.backbones.base import Backbone
from trainer.data import Say
from trainer.evaluation import METRICS, Evaluation, evaluate_embeddings
from trainer.export import check_parity, export_onnx, run_onnx
from trainer.network import EmbeddingNetwork, build_network
from trainer.progress import TrainingProgress
from trainer.recipes import Recipe
from trainer.training import Epoch, LabelledImages, train_network

ONNX = "embedder.onnx"
WEIGHTS = "embedder.weights.h5"

Photos = Mapping[str, LabelledImages]


@dataclass(frozen=True)
class Plan:
    """What to train, before chance has its part.

    Attributes:
        backbone: what to build on.
        recipe: how to train.
        weights: `auto`, `none` or a file.
        dimension: length of the embeddings.
    """

    backbone: Backbone
    recipe: Recipe
    weights: str
    dimension: int

    def build(self, seed: int) -> EmbeddingNetwork:
        """The network as training begins; seeds all that TensorFlow draws from here on."""
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(seed)
        return build_network(self.backbone, self.weights, self.dimension, self.recipe.head)


@dataclass(frozen=True)
class Run:
    """One training, exported and measured.

    Attributes:
        seed: of its batches and random weights.
        folder: holds the ONNX network and the Keras weights.
        epochs: how it went.
        interrupted: whether the user ended it early.
        parameters: of the network, trained or not.
        parity: how far ONNX Runtime is from TensorFlow.
        embeddings: by held-out split, float32 [photos, d], of ONNX Runtime.
        evaluations: by held-out split.
    """

    seed: int
    folder: Path
    epochs: list[Epoch]
    interrupted: bool
    parameters: int
    parity: Parity
    embeddings: dict[str, Embeddings]
    evaluations: dict[str, Evaluation]


def train_runs(train_one: Callable[[int], Run], first: int, count: int, say: Say) -> list[Run]:
    """Train with the seeds first, first + 1, …; an interruption ends them all and keeps what there is.

    Args:
        train_one: trains with a seed.
        first: the first seed.
        count: how many.
        say: takes what the user should know.
    """
    runs: list[Run] = []
    for seed in range(first, first + count):
        if count > 1:
            say(f"Seed {seed}, {seed - first + 1} of {count}.")
        try:
            runs.append(train_one(seed))
        except KeyboardInterrupt:
            if not runs:
                raise
            break
        if runs[-1].interrupted:
            break
    return runs


def train_run(plan: Plan, photos: Photos, seed: int, folder: Path, say: Say) -> Run:
    """Train a network, export it and measure it.

    Args:
        plan: what to train.
        photos: by split; `train` is learnt from, `val` chosen on, and all but `train` measured.
        seed: of all that is drawn.
        folder: what to write to; it is made.
        say: takes what the user should know.

    Raises:
        LookalikeError: weights that can't be had, or an export that is not faithful.
    """
    network, recipe = plan.build(seed), plan.recipe
    with TrainingProgress(recipe, network.pretrained, say) as progress:
        epochs = train_network(network, recipe, train=photos["train"], val=photos["val"], seed=seed, watcher=progress)
    say("Exporting the network and measuring it …")
    folder.mkdir()
    embedder = network.whole()
    embedder.save_weights(folder / WEIGHTS)
    export_onnx(embedder, folder / ONNX)
    parity = check_parity(embedder, folder / ONNX, photos["val"].images)
    held_out = {split: of_split for split, of_split in photos.items() if split != "train"}
    embeddings = {split: run_onnx(folder / ONNX, of_split.images) for split, of_split in held_out.items()}
    evaluations = {split: evaluate_embeddings(embeddings[split], held_out[split].labels) for split in held_out}
    return Run(seed, folder, epochs, progress.interrupted, embedder.count_params(), parity, embeddings, evaluations)


def best_run(runs: Sequence[Run]) -> Run:
    """The run that retrieves the validation photos best, by MAP@R; the test photos have no say."""
    return max(runs, key=lambda run: run.evaluations["val"].overall["map_at_r"])


def over_seeds(runs: Sequence[Run], kept: Run) -> dict[str, Any]:
    """Each run's figures by split, and their mean and spread (standard deviation, n − 1)."""
    figures = [
        {"seed": run.seed, "seconds": run.epochs[-1].seconds}
        | {split: evaluation.overall for split, evaluation in run.evaluations.items()}
        for run in runs
    ]

    def summary(of: Callable[[list[float]], float]) -> dict[str, dict[str, float]]:
        return {
            split: {metric: of([run.evaluations[split].overall[metric] for run in runs]) for metric in METRICS}
            for split in kept.evaluations
        }

    return {"runs": figures, "kept": kept.seed, "mean": summary(statistics.fmean), "spread": summary(statistics.stdev)}
