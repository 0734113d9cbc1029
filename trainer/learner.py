"""Takes the steps of a recipe, epoch by epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.augmented_views import augmented_views
from trainer.backbones.base import Backbone
from trainer.losses import TripletObjective, objective
from trainer.network import EmbeddingNetwork, begin_statistics
from trainer.recipes.components import Adam, AdamW, MeanCentred, Unchanged
from trainer.recipes.recipe import AnyOptimizer, Recipe
from trainer.sampling import BATCH, Positions, batches, slices
from trainer.schedules import Planned, Rates, learning_rates, timetable
from trainer.soup import Soup

Features = npt.NDArray[np.float32]
Step = Callable[[tf.Tensor, npt.NDArray[np.int32]], float]

ORDER_OF_VALIDATION = 0
CENTRED_ON = 1024


@dataclass(frozen=True)
class LabelledImages:
    """Photos as arrays: images uint8 [photos, size, size, 3], labels str [photos]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.str_]


def sample_batch(photos: LabelledImages, backbone: Backbone, recipe: Recipe, seed: int) -> LabelledImages:
    """A batch as a network on a backbone, fed as the recipe does, sees it in training: augmented, not yet mixed."""
    _, classes = np.unique(photos.labels, return_inverse=True)
    batch = next(batches(classes, recipe.sampling, np.random.default_rng(seed)))
    views = random_views(photos.images[batch], backbone.train_size, recipe.augmentation or backbone.augmentation)
    return LabelledImages(np.asarray(views, np.uint8), photos.labels[batch])


class Learner:
    """A network in training.

    Attributes:
        timetable: how many steps there are.
        checkpoint: all that changes as the whole network learns, other than which random numbers come next.

    Args:
        network: what learns.
        recipe: how.
        train: from what.
        seed: of the batches; TensorFlow's own is the caller's to set.
    """

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
            begin_statistics(network.features, self._unchanged(self._some(BATCH), network.backbone.train_size))
        self._views = augmented_views(train.images, network, recipe)
        self._is_centred = isinstance(recipe.head, MeanCentred)
        if self._is_centred:  # on views, whose middle is another one than that of the photos that are searched
            features = self._features(view=0)
            network.centre(features)
            if isinstance(self._objective, TripletObjective):
                self._objective.begin(tf.constant(self._labels), self._head(features, training=False))
        self._optimizers = [self._optimizer(*group, self.timetable.steps_per_round) for group in self._groups()]
        several = self.timetable.epochs > self.timetable.epochs_per_round
        self._soup = Soup([variable for _, variables in self._groups() for variable in variables] if several else [])
        self.checkpoint = tf.train.Checkpoint(
            features=network.features,
            head=network.head,
            objective=self._objective,
            optimizers=self._optimizers,
            soup=self._soup,
        )

    def epochs(self, after: int | None = None) -> Iterator[tuple[int, Iterator[float]]]:
        """Each epoch's number with its steps, which are taken as their losses are asked for.

        Epoch 0 trains the head alone, where a recipe does so.

        Args:
            after: the last epoch that was done before; its random batches are passed over.
        """
        table = self.timetable
        if after is not None:
            self._pass_over(after)
        elif table.head_alone:
            yield 0, self._head_steps()
        if not after:
            self._soup.begin()
        step = self._whole_step()
        for number in range((after or 0) + 1, table.epochs + 1):
            if table.begins_round(number):
                self._begin_round()
            yield number, (step(*self._batch()) for _ in range(table.steps_per_epoch))

    @contextmanager
    def as_measured(self) -> Iterator[None]:
        """Within a `with` statement the network is as it would be if training ended now."""
        with self._soup.mixed():
            if not self._is_centred:
                yield
                return
            with self._network.centred_on(self._features_of_photos()):
                yield

    def validation_model(self) -> tf.keras.Model:
        """From images to what the loss takes."""
        network = self._network
        return network.whole() if self._objective.unit_length else network.without_unit_length()

    def validation_loss(self, outputs: Features, labels: npt.NDArray[np.str_]) -> float:
        """The loss of photos in batches of 64, always the same ones, whatever the order of the photos.

        Args:
            outputs: of the validation model, float32 [photos, d].
            labels: str [photos]; classes that training does not know count for triplets alone.
        """
        known = {label: number for number, label in enumerate(self._classes)}
        unknown = {label: -1 - number for number, label in enumerate(sorted(set(labels) - set(known)))}
        codes = np.array([(known | unknown)[label] for label in labels], np.int32)
        order = np.random.default_rng(ORDER_OF_VALIDATION).permutation(len(labels))
        chosen = [order[part] for part in slices(len(order))]
        losses = [float(self._objective(tf.constant(codes[part]), tf.constant(outputs[part]))) for part in chosen]
        return float(np.average(losses, weights=[len(part) for part in chosen]))

    def _pass_over(self, epoch: int) -> None:
        """Draw the batches of the epochs that are done, so that the next one is the one that would have come."""
        for _ in range(self.timetable.taken(epoch)):
            self._draw()
            self._share()

    def _begin_round(self) -> None:
        """Let the weights go back to where they began, and the optimizers forget."""
        self._soup.begin_again()
        for optimizer in self._optimizers:
            for variable in optimizer.variables:
                variable.assign(tf.zeros_like(variable))

    def _head_steps(self) -> Iterator[float]:
        """Train the head on the features of a few views of each photo, which are computed once."""
        steps, fresh = self.timetable.head_alone, self._fresh()
        groups = [(self._recipe.optimizer.fresh, fresh)] if fresh else []
        optimizers = [self._optimizer(*group, steps) for group in groups]
        step = self._step(lambda features: self._head(features, training=True), optimizers, groups)
        features = np.stack([self._features(view) for view in range(self._recipe.views)])
        for _ in range(steps):
            photos, views = self._draw()
            yield step(features[views, photos], self._labels[photos])

    def _features(self, view: int) -> Features:
        """The features of one view of each photo."""
        photos = np.arange(len(self._labels))
        views = (self._views(photos[part], np.full_like(photos[part], view)) for part in slices(len(photos)))
        trainable = self._network.trainable
        return np.concatenate([np.asarray(trainable.predict_on_batch(batch), np.float32) for batch in views])

    def _draw(self) -> tuple[Positions, Positions]:
        """The photos of a batch, and which view of each."""
        photos = next(self._batches)
        return photos, self._rng.integers(self._recipe.views, size=len(photos))

    def _batch(self) -> tuple[tf.Tensor, npt.NDArray[np.int32]]:
        """Views with their labels."""
        photos, views = self._draw()
        return self._views(photos, views), self._labels[photos]

    def _whole_step(self) -> Step:
        """Batch normalisation keeps the statistics that came with trained weights, and learns its own without."""
        features, head, from_scratch = self._network.trainable, self._head, not self._network.pretrained
        return self._step(
            lambda views: head(features(views, training=from_scratch), training=True), self._optimizers, self._groups()
        )

    def _groups(self) -> list[tuple[float, list[tf.Variable]]]:
        """What learns, with its learning rate: the backbone, where it does, and the head."""
        how, body = self._recipe.optimizer, self._network.features.trainable_variables
        groups = [(how.pretrained if self._network.pretrained else how.fresh, body), (how.fresh, self._fresh())]
        return [group for group in groups if group[1]]

    def _fresh(self) -> list[tf.Variable]:
        return [*self._head.trainable_variables, *self._objective.trainable_variables]

    def _step(
        self,
        run: Callable[[tf.Tensor], tf.Tensor],
        optimizers: list[tf.keras.optimizers.Optimizer],
        groups: list[tuple[float, list[tf.Variable]]],
    ) -> Step:
        """One step of learning, compiled: each group of variables with its optimizer."""

        def step(inputs: tf.Tensor, labels: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = self._loss(run, inputs, labels, share)
            gradients = tape.gradient(loss, [variables for _, variables in groups])
            for optimizer, of_group, (_, variables) in zip(optimizers, gradients, groups, strict=True):
                pairs = [(gradient, variable) for gradient, variable in zip(of_group, variables, strict=True)]
                optimizer.apply_gradients(pairs)
            return loss

        compiled = tf.function(step, reduce_retracing=True)
        return lambda inputs, labels: float(compiled(inputs, labels, tf.constant(self._share())))

    def _share(self) -> float:
        """How much of each photo is itself, the rest being its opposite in the batch."""
        alpha = self._recipe.mixup
        return self._rng.beta(alpha, alpha) if alpha else 1.0

    def _loss(
        self, run: Callable[[tf.Tensor], tf.Tensor], inputs: tf.Tensor, labels: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        """The loss of a batch; with MixUp, of each photo mixed with its opposite in the batch, by both labels."""
        if not self._recipe.mixup:
            return self._objective(labels, run(inputs), training=True)
        outputs = run(share * inputs + (1 - share) * inputs[::-1])
        mine, other = (self._objective(of, outputs, training=True) for of in (labels, labels[::-1]))
        return share * mine + (1 - share) * other

    def _optimizer(self, rate: float, variables: list[tf.Variable], steps: int) -> tf.keras.optimizers.Optimizer:
        per_epoch = self.timetable.steps_per_epoch
        rates = learning_rates(self._recipe.schedule, rate, steps, per_epoch, self._seed)
        optimizer = _optimizer(self._recipe.optimizer, rates)
        optimizer.build(variables)
        return optimizer

    def _features_of_photos(self) -> Features:
        """The features of the training photos, or of many of them, as they are when photos are searched."""
        chosen, size = self._some(CENTRED_ON), self._network.backbone.resize.size
        photos = (self._unchanged(chosen[part], size) for part in slices(len(chosen)))
        features = self._network.features
        return np.concatenate([np.asarray(features.predict_on_batch(batch), np.float32) for batch in photos])

    def _some(self, at_most: int) -> Positions:
        """All training photos or, where there are more than so many, that many of them at random."""
        return np.random.default_rng(self._seed).permutation(len(self._images))[:at_most]

    def _unchanged(self, photos: Positions, size: int) -> tf.Tensor:
        return random_views(self._images[photos], size, Unchanged())


def _optimizer(how: AnyOptimizer, rates: Rates) -> tf.keras.optimizers.Optimizer:
    match how:
        case AdamW():
            return tf.keras.optimizers.AdamW(Planned(rates), weight_decay=how.weight_decay)
        case Adam():
            return tf.keras.optimizers.Adam(Planned(rates))
        case _:
            return tf.keras.optimizers.SGD(Planned(rates), momentum=how.momentum)
