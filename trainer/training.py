"""The training loop: epochs with validation, early stopping, checkpoints, and the choice of the weights to keep."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.errors import LookalikeError
from retrieval.index.vectors import to_unit_length
from retrieval.top_k import Embeddings
from trainer.checkpoints import Checkpoints
from trainer.data import LabelledImages
from trainer.learner import Learner
from trainer.network import EmbeddingNetwork, predict
from trainer.recipes.components import Stopping
from trainer.recipes.recipe import Recipe


@dataclass(frozen=True)
class Epoch:
    """The metrics of an epoch."""

    number: int  # its number; epoch 0 trains the head alone
    loss: float  # mean loss of its batches
    val_loss: float  # loss of the validation split, without dropout
    map_at_r: float
    recall_at_1: float
    seconds: float  # time since training started


class TrainingCallback:
    """Receives the events of a training; does nothing unless a method is overridden."""

    def on_resume(self, epoch: Epoch) -> None:
        """Training resumes after this epoch, which was completed before."""

    def on_step(self, loss: float) -> None:
        """A step is completed."""

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch is completed."""

    def on_interruption(self) -> None:
        """The user interrupted training; the weights kept so far are used."""

    def on_divergence(self, why: str) -> None:
        """Training diverged and stops; the weights kept so far are used."""


class Diverged(LookalikeError):
    """A loss or an embedding is not finite."""

    def __init__(self, epoch: int, what: str) -> None:
        super().__init__(
            f"Training diverged in epoch {epoch}: {what}.",
            "Lower the learning rates with --set optimizer.pretrained=… and --set optimizer.fresh=….",
        )


def train_network(
    network: EmbeddingNetwork,
    recipe: Recipe,
    *,
    train: LabelledImages,
    val: LabelledImages,
    seed: int,
    callbacks: Sequence[TrainingCallback] = (),
    checkpoints: Checkpoints | None = None,
) -> list[Epoch]:
    """Train a network in place, which ends with the weights of the epoch that the recipe's stopping rule keeps.

    Return the epochs, in order. An interruption (Ctrl-C) or divergence after the first epoch ends training with the
    weights kept so far.

    Args:
        val: the validation photos, in the network's input size.
        seed: seed of the batches; the caller seeds TensorFlow.
        checkpoints: where to save a checkpoint after each epoch; an existing one is resumed.

    Raises:
        Diverged: the first epoch diverged.
    """
    began = time.monotonic()
    learner, embedder = Learner(network, recipe, train, seed), network.whole()
    model, validation = learner.validation(val.images)
    epochs: list[Epoch] = []
    kept = embedder.get_weights()
    if checkpoints is not None and checkpoints.exist:
        saved = checkpoints.restore(learner.checkpoint)
        epochs, kept = [Epoch(**fields) for fields in saved.epochs], saved.kept
        tf.random.set_seed(seed + epochs[-1].number)
        for callback in callbacks:
            callback.on_resume(epochs[-1])
    start = began - (epochs[-1].seconds if epochs else 0)
    try:
        for number, losses in learner.epochs(after=epochs[-1].number if epochs else None):
            if epochs and should_stop(epochs, recipe.stopping):
                break
            loss = float(np.mean(list(_reported(losses, number, callbacks))))
            with learner.final_weights():
                outputs = predict(model, validation)
                metrics = _validation_metrics(learner, outputs, val, number)
                epochs.append(Epoch(number, loss, **metrics, seconds=round(time.monotonic() - start, 1)))
                if kept_epoch(epochs, recipe.stopping) is epochs[-1]:
                    kept = embedder.get_weights()
            for callback in callbacks:
                callback.on_epoch(epochs[-1])
            if checkpoints is not None:
                of_kept = kept_epoch(epochs, recipe.stopping).number
                checkpoints.save(learner.checkpoint, [asdict(epoch) for epoch in epochs], kept, of_kept)
    except (KeyboardInterrupt, Diverged) as error:
        if not epochs:
            raise
        for callback in callbacks:
            if isinstance(error, Diverged):
                callback.on_divergence(error.message)
            else:
                callback.on_interruption()
    embedder.set_weights(kept)
    learner.fit_look()
    return epochs


def kept_epoch(epochs: Sequence[Epoch], stopping: Stopping) -> Epoch:
    """Return the epoch of which the weights are kept: the last one or the best one, of equals the first."""
    return epochs[-1] if stopping.keep == "last" else _best(epochs, stopping)


def should_stop(epochs: Sequence[Epoch], stopping: Stopping) -> bool:
    """Whether the monitored metric has not improved for as many epochs as the stopping rule has patience."""
    return stopping.patience is not None and epochs[-1].number - _best(epochs, stopping).number >= stopping.patience


def _best(epochs: Sequence[Epoch], stopping: Stopping) -> Epoch:
    return max(epochs, key=lambda epoch: epoch.map_at_r if stopping.on == "map_at_r" else -epoch.val_loss)


def _validation_metrics(learner: Learner, outputs: Embeddings, val: LabelledImages, epoch: int) -> dict[str, float]:
    """Compute the fields of `Epoch` that follow from the outputs of the validation model, float32 [photos, d]."""
    if not np.isfinite(outputs).all():
        raise Diverged(epoch, "embeddings are not finite")
    evaluation = evaluate_embeddings(
        to_unit_length(outputs), val.labels, roles=val.roles, metrics=("map_at_r", "recall_at_1")
    )
    return {"val_loss": learner.validation_loss(outputs, val.labels), **evaluation.overall}


def _reported(losses: Iterator[float], epoch: int, callbacks: Sequence[TrainingCallback]) -> Iterator[float]:
    """Yield the losses, each after it was checked and reported to the callbacks."""
    for loss in losses:
        if not math.isfinite(loss):
            raise Diverged(epoch, f"the loss is {loss}")
        for callback in callbacks:
            callback.on_step(loss)
        yield loss
