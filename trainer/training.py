"""The training loop: epoch after epoch, until nothing gets better; the weights that retrieve best are kept."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from retrieval.errors import LookalikeError
from retrieval.neighbours import Embeddings
from trainer.checkpoints import Checkpoints
from trainer.evaluation import evaluate_embeddings
from trainer.learner import LabelledImages, Learner
from trainer.network import EmbeddingNetwork, to_unit_length
from trainer.recipes.components import Stopping
from trainer.recipes.recipe import Recipe
from trainer.sampling import BATCH


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; epoch 0 is the training of the head alone.

    Attributes:
        number: its place.
        loss: mean over its batches.
        val_loss: of the validation photos, without dropout.
        map_at_r: of the validation photos.
        recall_at_1: of the validation photos.
        seconds: since training began.
    """

    number: int
    loss: float
    val_loss: float
    map_at_r: float
    recall_at_1: float
    seconds: float


class Watcher(Protocol):
    """Who wants to know how training goes."""

    def on_resume(self, epoch: Epoch) -> None:
        """Training goes on after an epoch that was done before."""

    def on_step(self, loss: float) -> None:
        """A batch is done."""

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""

    def on_interruption(self) -> None:
        """The user ends training early; what it has is kept."""

    def on_divergence(self, why: str) -> None:
        """Training went astray and ends; what it has is kept."""


class Diverged(LookalikeError):
    """Losses or embeddings that are no numbers."""

    def __init__(self, epoch: int, what: str) -> None:
        super().__init__(
            f"In epoch {epoch} {what}: training went astray.",
            "Lower the learning rates with --set optimizer.pretrained=… and --set optimizer.fresh=….",
        )


def train_network(
    network: EmbeddingNetwork,
    recipe: Recipe,
    *,
    train: LabelledImages,
    val: LabelledImages,
    seed: int,
    watchers: Sequence[Watcher] = (),
    checkpoints: Checkpoints | None = None,
) -> list[Epoch]:
    """Train a network in place; it ends with the weights of the epoch that its recipe keeps.

    An interruption (Ctrl-C), or numbers that are none any more, ends training and keeps what there is.

    Args:
        network: what to train.
        recipe: how.
        train: what to learn from.
        val: what to choose on, in the size that the network will see.
        seed: of the batches; TensorFlow's own is the caller's to set.
        watchers: are told of each step and epoch.
        checkpoints: where epochs are kept, and what there is of an earlier, unfinished training is taken up.

    Returns:
        The epochs, in order.

    Raises:
        Diverged: the very first epoch goes astray.
    """
    learner, embedder = Learner(network, recipe, train, seed), network.whole()
    model = learner.validation_model()
    epochs: list[Epoch] = []
    kept = embedder.get_weights()
    if checkpoints is not None and checkpoints.exist:
        found = checkpoints.restore(learner.checkpoint)
        epochs, kept = [Epoch(**fields) for fields in found.epochs], found.kept
        tf.random.set_seed(seed + epochs[-1].number)
        for watcher in watchers:
            watcher.on_resume(epochs[-1])
    began = time.monotonic() - (epochs[-1].seconds if epochs else 0)
    try:
        for number, batch_losses in learner.epochs(after=epochs[-1].number if epochs else None):
            if epochs and is_over(epochs, recipe.stopping):
                break
            loss = float(np.mean(list(_told(batch_losses, number, watchers))))
            with learner.as_measured():
                outputs = model.predict(val.images, batch_size=BATCH, verbose=0)
                measured = _measured(learner, outputs, val, number)
                epochs.append(Epoch(number, loss, **measured, seconds=round(time.monotonic() - began, 1)))
                if kept_epoch(epochs, recipe.stopping) is epochs[-1]:
                    kept = embedder.get_weights()
            for watcher in watchers:
                watcher.on_epoch(epochs[-1])
            if checkpoints is not None:
                of_kept = kept_epoch(epochs, recipe.stopping).number
                checkpoints.save(learner.checkpoint, [asdict(epoch) for epoch in epochs], kept, of_kept)
    except (KeyboardInterrupt, Diverged) as error:
        if not epochs:
            raise
        for watcher in watchers:
            if isinstance(error, Diverged):
                watcher.on_divergence(error.message)
            else:
                watcher.on_interruption()
    embedder.set_weights(kept)
    return epochs


def kept_epoch(epochs: Sequence[Epoch], how: Stopping) -> Epoch:
    """The epoch whose weights a recipe keeps; of equals, the first."""
    return epochs[-1] if how.keep == "last" else max(epochs, key=lambda epoch: _quality(epoch, how))


def is_over(epochs: Sequence[Epoch], how: Stopping) -> bool:
    """Whether nothing got better for as many epochs as the recipe has patience."""
    best = max(epochs, key=lambda epoch: _quality(epoch, how))
    return how.patience is not None and epochs[-1].number - best.number >= how.patience


def _measured(learner: Learner, outputs: Embeddings, val: LabelledImages, epoch: int) -> dict[str, float]:
    """What an epoch came to, by what the network makes of the validation photos."""
    if not np.isfinite(outputs).all():
        raise Diverged(epoch, "embeddings became no numbers")
    metrics = evaluate_embeddings(to_unit_length(outputs), val.labels).overall
    return {
        "val_loss": learner.validation_loss(outputs, val.labels),
        "map_at_r": metrics["map_at_r"],
        "recall_at_1": metrics["recall_at_1"],
    }


def _quality(epoch: Epoch, how: Stopping) -> float:
    return epoch.map_at_r if how.on == "map_at_r" else -epoch.val_loss


def _told(losses: Iterator[float], epoch: int, watchers: Sequence[Watcher]) -> Iterator[float]:
    """The losses, each told to the watchers as it comes."""
    for loss in losses:
        if not math.isfinite(loss):
            raise Diverged(epoch, f"the loss became {loss}")
        for watcher in watchers:
            watcher.on_step(loss)
        yield loss
