"""The training loop: the head first, then the network; the weights that retrieve best are kept."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.backbones.base import Backbone
from trainer.evaluation import evaluate_embeddings
from trainer.losses import EmbeddingLoss
from trainer.network import BATCH, EmbeddingNetwork, embed
from trainer.recipes import AdamW, Recipe
from trainer.sampling import balanced_batches

Labels = npt.NDArray[np.int32]
Features = npt.NDArray[np.float32]
Step = Callable[[tf.Tensor, Labels], float]


@dataclass(frozen=True)
class LabelledImages:
    """Photos as arrays: images uint8 [photos, size, size, 3], labels str [photos]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; epoch 0 is the training of the head alone.

    Attributes:
        number: its place.
        loss: mean over its batches.
        map_at_r: of the validation photos.
        recall_at_1: of the validation photos.
        seconds: since training began.
    """

    number: int
    loss: float
    map_at_r: float
    recall_at_1: float
    seconds: float


class Watcher(Protocol):
    """Who wants to know how training goes."""

    def on_step(self, loss: float) -> None:
        """A batch is done."""

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""

    def on_interruption(self) -> None:
        """Training ends early; the best so far is kept."""


def train_network(
    network: EmbeddingNetwork,
    recipe: Recipe,
    *,
    train: LabelledImages,
    val: LabelledImages,
    seed: int,
    watcher: Watcher,
) -> list[Epoch]:
    """Train a network in place; it ends with the weights that had the best MAP@R on the validation photos.

    An interruption (Ctrl-C) ends training and keeps the best so far.

    Args:
        network: what to train.
        recipe: how.
        train: what to learn from.
        val: what to choose on, in the size that the network will see.
        seed: of the batches; TensorFlow's own is the caller's to set.
        watcher: is told of each step and epoch.

    Returns:
        The epochs, in order.
    """
    began = time.monotonic()
    trainer = _Trainer(network, recipe, train, seed)
    embedder = network.whole()
    epochs: list[Epoch] = []
    best_weights = embedder.get_weights()
    try:
        for number, batch_losses in trainer.epochs():
            losses = []
            for loss in batch_losses:
                losses.append(loss)
                watcher.on_step(loss)
            metrics = evaluate_embeddings(embed(embedder, val.images), val.labels).overall
            seconds = round(time.monotonic() - began, 1)
            epoch = Epoch(number, float(np.mean(losses)), metrics["map_at_r"], metrics["recall_at_1"], seconds)
            epochs.append(epoch)
            watcher.on_epoch(epoch)
            best = max(epochs, key=lambda epoch: epoch.map_at_r)
            if best is epoch:
                best_weights = embedder.get_weights()
            elif number - best.number >= recipe.patience:
                break
    except KeyboardInterrupt:
        if not epochs:
            raise
        watcher.on_interruption()
    embedder.set_weights(best_weights)
    return epochs


def sample_batch(photos: LabelledImages, backbone: Backbone, recipe: Recipe, seed: int) -> LabelledImages:
    """A batch as a network sees it in training, after augmentation."""
    _, classes = np.unique(photos.labels, return_inverse=True)
    batch = next(balanced_batches(classes, recipe.batch_size, np.random.default_rng(seed)))
    views = _views(photos.images[batch], backbone, recipe)
    return LabelledImages(np.asarray(views, np.uint8), photos.labels[batch])


def planned_learning_rates(recipe: Recipe, pretrained: bool) -> dict[str, npt.NDArray[np.float64]]:
    """The learning rates of head and backbone at each step, if training takes all epochs of its recipe.

    Args:
        recipe: how the network is trained.
        pretrained: whether its backbone starts with trained weights, so that the head is trained alone first.

    Returns:
        `head` and `backbone`, each float64 [steps]; NaN while it rests.
    """
    how, alone = recipe.optimizer, recipe.head_steps if pretrained else 0
    together = recipe.epochs * recipe.steps_per_epoch

    def rates(rate: float, steps: int) -> npt.NDArray[np.float64]:
        schedule = _schedule(how, rate, steps)
        return np.array([float(schedule(step)) for step in range(steps)])

    backbone = rates(how.pretrained if pretrained else how.fresh, together)
    return {
        "head": np.concatenate([rates(how.fresh, alone), rates(how.fresh, together)]),
        "backbone": np.concatenate([np.full(alone, np.nan), backbone]),
    }


class _Trainer:
    """Takes the steps of a recipe, epoch by epoch."""

    def __init__(self, network: EmbeddingNetwork, recipe: Recipe, train: LabelledImages, seed: int) -> None:
        classes, labels = np.unique(train.labels, return_inverse=True)
        self._network, self._recipe = network, recipe
        self._images, self._labels = train.images, labels.astype(np.int32)
        self._loss = EmbeddingLoss(recipe.loss, len(classes), network.head.output_shape[-1])
        self._rng = np.random.default_rng(seed)
        self._batches = balanced_batches(self._labels, recipe.batch_size, self._rng)

    def epochs(self) -> Iterator[tuple[int, Iterator[float]]]:
        """Each epoch's number with its steps, which are taken as their losses are asked for."""
        if self._network.pretrained:
            yield 0, self._head_steps()
        step = self._whole_step()
        for number in range(1, self._recipe.epochs + 1):
            batches = (next(self._batches) for _ in range(self._recipe.steps_per_epoch))
            yield number, (step(self._views(batch), self._labels[batch]) for batch in batches)

    def _head_steps(self) -> Iterator[float]:
        """Train the head on the features of a few views of each photo, which are computed once."""
        head, steps = self._network.head, self._recipe.head_steps
        fresh = [*head.trainable_variables, *self._loss.trainable_variables]
        groups = [(self._recipe.optimizer.fresh, fresh)]
        step = self._step(lambda features: head(features, training=True), groups, steps)
        views = np.stack([self._features_of_views() for _ in range(self._recipe.head_views)])
        for _ in range(steps):
            batch = next(self._batches)
            yield step(views[self._rng.integers(len(views), size=len(batch)), batch], self._labels[batch])

    def _features_of_views(self) -> Features:
        """The features of one random view of each photo."""
        everything = np.arange(len(self._images))
        batches = [everything[start : start + BATCH] for start in range(0, len(everything), BATCH)]
        return np.concatenate([self._network.features.predict_on_batch(self._views(batch)) for batch in batches])

    def _whole_step(self) -> Step:
        features, head, how = self._network.features, self._network.head, self._recipe.optimizer
        fresh = [*head.trainable_variables, *self._loss.trainable_variables]
        body = features.trainable_variables
        groups = [(how.pretrained if self._network.pretrained else how.fresh, body), (how.fresh, fresh)]
        steps = self._recipe.epochs * self._recipe.steps_per_epoch
        return self._step(lambda views: head(features(views, training=False), training=True), groups, steps)

    def _views(self, batch: npt.NDArray[np.int_]) -> tf.Tensor:
        """A random view of each photo of a batch."""
        return _views(self._images[batch], self._network.backbone, self._recipe)

    def _step(
        self, embed: Callable[[tf.Tensor], tf.Tensor], groups: list[tuple[float, list[tf.Variable]]], steps: int
    ) -> Step:
        """One step of learning, compiled: groups of variables with their learning rates, for a run of so many steps."""
        optimizers = [self._optimizer(rate, variables, steps) for rate, variables in groups]

        def step(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = self._loss(labels, embed(inputs))
            gradients = tape.gradient(loss, [variables for _, variables in groups])
            for optimizer, of_group, (_, variables) in zip(optimizers, gradients, groups, strict=True):
                optimizer.apply_gradients(zip(of_group, variables, strict=True))
            return loss

        compiled = tf.function(step, reduce_retracing=True)
        return lambda inputs, labels: float(compiled(inputs, labels))

    def _optimizer(self, rate: float, variables: list[tf.Variable], steps: int) -> tf.keras.optimizers.Optimizer:
        how = self._recipe.optimizer
        optimizer = tf.keras.optimizers.AdamW(_schedule(how, rate, steps), weight_decay=how.weight_decay)
        optimizer.build(variables)
        return optimizer


def _views(images: npt.NDArray[np.uint8], backbone: Backbone, recipe: Recipe) -> tf.Tensor:
    return random_views(images, backbone.train_size, recipe.augmentation or backbone.augmentation)


def _schedule(how: AdamW, rate: float, steps: int) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """A learning rate for a run of so many steps."""
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - how.warm_up), warmup_target=rate, warmup_steps=how.warm_up
    )
