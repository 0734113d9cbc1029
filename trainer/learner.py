"""Trains a network by a recipe: batches, steps, epochs, and the weights to evaluate after each epoch."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.augmented_views import augmented_views
from trainer.data import LabelledImages
from trainer.look import MOST_PHOTOS, fit_look
from trainer.losses import TripletObjective, objective
from trainer.network import EmbeddingNetwork, initialize_batch_norm, predict
from trainer.recipes.components import MeanCentred, Unchanged
from trainer.recipes.recipe import Recipe
from trainer.sampling import BATCH, Indices, batches, slices
from trainer.schedules import learning_rates, timetable
from trainer.soup import Soup
from trainer.training_step import Forward, ParameterGroup, TrainingStep, parameter_group

Features = npt.NDArray[np.float32]
Variables = list[tf.Variable]

VALIDATION_SEED = 0
MAX_PHOTOS_FOR_MEAN = 1024


class Learner:
    """Trains a network epoch by epoch, in batches drawn by the seed; the caller seeds TensorFlow."""

    def __init__(self, network: EmbeddingNetwork, recipe: Recipe, train: LabelledImages, seed: int) -> None:
        self._network, self._recipe, self._seed = network, recipe, seed
        self._classes, labels = np.unique(train.labels, return_inverse=True)
        self._images, self._labels = train.images, labels.astype(np.int32)
        self._objective = objective(recipe.loss, len(self._classes), network.head.output_shape[-1])
        self._head = network.head if self._objective.unit_length else network.projection
        self._rng = np.random.default_rng(seed)
        self._batches = batches(self._labels, recipe.sampling, self._rng)
        self.timetable = timetable(recipe, len(train.labels), network.pretrained)
        if not network.pretrained:
            photos = self._resized(self._random_photos(BATCH), network.backbone.train_size)
            initialize_batch_norm(network.features, photos)
        self._views = augmented_views(train.images, network, recipe)
        self._is_centred = isinstance(recipe.head, MeanCentred)
        if self._is_centred:
            self._centre_on_views()
        fine_tuned = network.features.trainable_variables, self._head_variables()
        self._groups = self._parameter_groups(*fine_tuned, self.timetable.steps_per_round)
        several_runs = self.timetable.epochs > self.timetable.epochs_per_round
        self._soup = Soup([variable for variables in fine_tuned for variable in variables] if several_runs else [])
        # All state that changes from epoch 1 on, except random number generators.
        self.checkpoint = tf.train.Checkpoint(
            features=network.features,
            head=network.head,
            objective=self._objective,
            optimizers=[group.optimizer for group in self._groups],
            soup=self._soup,
        )

    def epochs(self, after: int | None = None) -> Iterator[tuple[int, Iterator[float]]]:
        """Yield the number of each epoch with an iterator that takes its steps and yields their losses.

        Epoch 0 trains the head alone, if the recipe has such a phase. After the last completed epoch of a restored
        checkpoint, `after`, the batches until its end are drawn and skipped.
        """
        table = self.timetable
        if after is not None:
            for _ in range(table.steps_until_end_of(after)):
                self._draw_batch()
        elif table.head_steps:
            yield 0, self._train_head()
        if not after:
            self._soup.set_start()
        step = self._fine_tuning_step()
        for number in range((after or 0) + 1, table.epochs + 1):
            if table.begins_round(number):
                self._soup.start_next_run()
                for group in self._groups:
                    group.reset_optimizer()
            yield number, (self._fine_tune(step) for _ in range(table.steps_per_epoch))

    @contextmanager
    def final_weights(self) -> Iterator[None]:
        """Within the context, the network has the weights with which training would end now.

        They are the mean over fine-tuning runs, and a `MeanCentred` head subtracts the mean features of photos without
        augmentation, as in search.
        """
        with self._soup.averaged():
            if not self._is_centred:
                yield
                return
            with self._network.centred_on(self._features_of_photos()):
                yield

    def fit_look(self) -> None:
        """Fit the part look, if there is one, to the training photos and the final weights of the network."""
        look = self._network.look
        if look is not None and look.has_projection:
            photos = self._random_photos(MOST_PHOTOS)
            fit_look(look, self._images, photos, self._network.backbone, self._seed)

    def validation(self, images: npt.NDArray[np.uint8]) -> tuple[tf.keras.Model, npt.NDArray[Any]]:
        """Return the model to the input of the loss, and what it takes for images uint8 [images, size, size, 3].

        It takes the images themselves, or the features of a network that is not trained, which are computed once.
        """
        network = self._network
        if not network.backbone.trainable:
            return self._head, predict(network.features_only(), images)
        return network.kind() if self._objective.unit_length else network.without_unit_length(), images

    def validation_loss(self, outputs: Features, labels: npt.NDArray[np.str_]) -> float:
        """Compute the mean loss over fixed batches of 64 photos in random order.

        Args:
            outputs: outputs of the validation model, float32 [photos, d].
            labels: str [photos]; classes that are not in the training split only count in triplets.
        """
        known = {label: number for number, label in enumerate(self._classes)}
        unknown = {label: -1 - number for number, label in enumerate(sorted(set(labels) - set(known)))}
        codes = np.array([(known | unknown)[label] for label in labels], np.int32)
        order = np.random.default_rng(VALIDATION_SEED).permutation(len(labels))
        chunks = [order[chunk] for chunk in slices(len(order))]
        losses = [float(self._objective(tf.constant(codes[chunk]), tf.constant(outputs[chunk]))) for chunk in chunks]
        return float(np.average(losses, weights=[len(chunk) for chunk in chunks]))

    def _train_head(self) -> Iterator[float]:
        """Train the head on the features of a few views per photo, which are computed once."""
        steps = self.timetable.head_steps
        groups = self._parameter_groups([], self._head_variables(), steps)
        step = self._step(lambda features: self._head(features, training=True), groups)
        features = np.stack([self._features_of_views(view) for view in range(self._recipe.views)])
        for _ in range(steps):
            photos, views, weight = self._draw_batch()
            yield step(features[views, photos], self._labels[photos], weight)

    def _fine_tuning_step(self) -> TrainingStep:
        """Batch normalization of a pretrained backbone uses its stored statistics."""
        features, head, from_scratch = self._network.trainable, self._head, not self._network.pretrained
        return self._step(lambda views: head(features(views, training=from_scratch), training=True), self._groups)

    def _fine_tune(self, step: TrainingStep) -> float:
        photos, views, weight = self._draw_batch()
        return step(self._views(photos, views), self._labels[photos], weight)

    def _draw_batch(self) -> tuple[Indices, Indices, float]:
        """Draw the photos of a batch, the number of a view for each, and the weight of MixUp."""
        photos, alpha = next(self._batches), self._recipe.mixup
        views = self._rng.integers(self._recipe.views, size=len(photos))
        return photos, views, self._rng.beta(alpha, alpha) if alpha else 1.0

    def _head_variables(self) -> Variables:
        return [*self._head.trainable_variables, *self._objective.trainable_variables]

    def _parameter_groups(self, backbone: Variables, head: Variables, steps: int) -> list[ParameterGroup]:
        """Make a group of the backbone's variables and one of the head's, without empty groups."""
        config, schedule, per_epoch = self._recipe.optimizer, self._recipe.schedule, self.timetable.steps_per_epoch
        of_backbone = config.pretrained if self._network.pretrained else config.fresh
        return [
            parameter_group(variables, config, learning_rates(schedule, rate, steps, per_epoch, self._seed))
            for variables, rate in ((backbone, of_backbone), (head, config.fresh))
            if variables
        ]

    def _step(self, forward: Forward, groups: list[ParameterGroup]) -> TrainingStep:
        return TrainingStep(forward, self._objective, groups, mixup=self._recipe.mixup > 0)

    def _centre_on_views(self) -> None:
        """Centre the head on the features of augmented views, on which it is trained, and initialize the proxies."""
        features = self._features_of_views(number=0)
        self._network.centre(features)
        if isinstance(self._objective, TripletObjective):
            self._objective.initialize_proxies(tf.constant(self._labels), self._head(features, training=False))

    def _features_of_views(self, number: int) -> Features:
        """Compute the features of one view of each training photo, float32 [photos, f]."""
        photos = np.arange(len(self._labels))
        views = (self._views(photos[chunk], np.full_like(photos[chunk], number)) for chunk in slices(len(photos)))
        return _predict(self._network.trainable, views)

    def _features_of_photos(self) -> Features:
        """Compute the features of at most 1,024 training photos without augmentation, float32 [photos, f]."""
        photos, size = self._random_photos(MAX_PHOTOS_FOR_MEAN), self._network.backbone.resize.size
        return _predict(self._network.features, (self._resized(photos[chunk], size) for chunk in slices(len(photos))))

    def _random_photos(self, at_most: int) -> Indices:
        return np.random.default_rng(self._seed).permutation(len(self._images))[:at_most]

    def _resized(self, photos: Indices, size: int) -> tf.Tensor:
        return random_views(self._images[photos], size, Unchanged())


def _predict(model: tf.keras.Model, inputs: Iterable[tf.Tensor]) -> Features:
    return np.concatenate([np.asarray(model.predict_on_batch(batch), np.float32) for batch in inputs])
