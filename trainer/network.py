"""The embedding network: backbone, head, and normalization to unit length."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.bundle_format import Part
from retrieval.index.vectors import to_unit_length
from retrieval.parts import KIND, LOOK
from trainer.backbones.base import NONE, Backbone
from trainer.look import LookPart, build_look, features_as_look, pool
from trainer.recipes.components import Head, Look, MeanCentred, Preparation
from trainer.recipes.recipe import AnyHead, Recipe
from trainer.sampling import slices

MOMENTUM_FROM_SCRATCH = 0.9
PROJECTION = "projection"


@dataclass(frozen=True)
class EmbeddingNetwork:
    """An embedding network as Keras models that share their layers."""

    backbone: Backbone
    features: tf.keras.Model  # pixels float32 [batch, height, width, 3] in 0…255 → features float32 [batch, f]
    projection: tf.keras.Model  # features → embeddings float32 [batch, d] before normalization
    head: tf.keras.Model  # `projection` followed by normalization to unit length
    pretrained: bool  # whether the backbone has pretrained weights
    frozen: tf.keras.Model | None  # lower layers of `features`, pixels → activations; None if no layers are split off
    trainable: tf.keras.Model  # the remaining layers of `features`, activations → features; all if `frozen` is None
    look: LookPart | None = None  # None if the embedding has the part kind alone

    @property
    def parts(self) -> list[Part]:
        """The parts of the embedding."""
        kind, look = int(self.head.output_shape[-1]), self.look
        if look is None:
            return [Part(name=KIND, length=kind, weight=1)]
        weights = ((KIND, kind, 1 - look.weight), (LOOK, look.length, look.weight))
        return [Part(name=name, length=length, weight=weight) for name, length, weight in weights]

    def whole(self) -> tf.keras.Model:
        """Return the exported model: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d]."""
        if self.look is None:
            return self.kind()
        images, pixels = _inputs(self.backbone)
        features, *maps = tf.keras.Model(self.features.input, [self.features.output, *self.look.maps.outputs])(
            pixels, training=False
        )
        embeddings = join(self.head(features, training=False), self.look.head(pool(maps)), self.look.weight)
        return tf.keras.Model(images, embeddings, name="embedder")

    def kind(self) -> tf.keras.Model:
        """Return `whole` with the part kind alone."""
        return self._from_images(self.head, "embedder")

    def without_unit_length(self) -> tf.keras.Model:
        """Return `kind` without normalization to unit length."""
        return self._from_images(self.projection, "projector")

    def features_only(self) -> tf.keras.Model:
        """Return `kind` without the head: images → features float32 [batch, f], not normalized."""
        return self._from_images(None, "features")

    def centre(self, features: npt.NDArray[np.float32]) -> None:
        """Make a `MeanCentred` head subtract the mean of these features, float32 [photos, f]."""
        layer = self.projection.get_layer(PROJECTION)
        layer.bias.assign(-to_unit_length(features).mean(axis=0) @ layer.kernel.numpy())

    @contextmanager
    def centred_on(self, features: npt.NDArray[np.float32]) -> Iterator[None]:
        """Within the context, apply `centre` with these features."""
        bias = self.projection.get_layer(PROJECTION).bias
        before = bias.numpy()
        self.centre(features)
        try:
            yield
        finally:
            bias.assign(before)

    def _from_images(self, last: tf.keras.Model | None, name: str) -> tf.keras.Model:
        images, pixels = _inputs(self.backbone)
        outputs = self.features(pixels, training=False)
        return tf.keras.Model(images, outputs if last is None else last(outputs, training=False), name=name)


@dataclass(frozen=True)
class LookNetwork:
    """A network whose embedding has the part look alone: the backbone is not trained, and has no head."""

    backbone: Backbone
    features: tf.keras.Model  # as in `EmbeddingNetwork`
    look: LookPart

    @property
    def parts(self) -> list[Part]:
        """The part of the embedding."""
        return [Part(name=LOOK, length=self.look.length, weight=1)]

    def whole(self) -> tf.keras.Model:
        """Return the exported model, see `EmbeddingNetwork.whole`."""
        images, pixels = _inputs(self.backbone)
        embeddings = self.look.head(self.look.pooled(pixels, training=False))
        return tf.keras.Model(images, embeddings, name="embedder")

    def with_features(self) -> tf.keras.Model:
        """Return `whole` with the features of the backbone, float32 [batch, f], as a second output."""
        images, pixels = _inputs(self.backbone)
        both = tf.keras.Model(self.features.input, [self.look.pooled.output, self.features.output])
        pooled, features = both(pixels, training=False)
        return tf.keras.Model(images, [self.look.head(pooled), features])


def build_network(
    backbone: Backbone, weights: str, dimension: int, head: AnyHead, *, learns: str = "upper", look: Look | None = None
) -> EmbeddingNetwork:
    """Build a network for training.

    Args:
        weights: `auto`, `none` or a file; see `Backbone.build`.
        dimension: length of the part kind.
        learns: which layers are trainable; see `Recipe`.
        look: the part look of the embedding; None if it has the part kind alone.

    Raises:
        LookalikeError: the weights are not available, or do not fit the backbone.
    """
    features = backbone.build(weights)
    pretrained = is_pretrained(backbone, weights)
    features.trainable = learns != "head"
    frozen, trainable = None, features
    if not backbone.trainable:
        frozen, trainable = features, _nothing(features.output_shape[-1])
    elif pretrained and learns == "upper":
        _freeze_lower_layers(features, backbone.fine_tune_from)
        if backbone.fine_tune_from is not None:
            activations = features.get_layer(backbone.fine_tune_from).input
            frozen = tf.keras.Model(features.input, activations)
            trainable = tf.keras.Model(activations, features.output)
    projection, unit = _build_head(features.output_shape[-1], dimension, head)
    part = _look(backbone, features, look) if look else None
    return EmbeddingNetwork(backbone, features, projection, unit, pretrained, frozen, trainable, part)


def _nothing(width: int) -> tf.keras.Model:
    """The model without layers from features float32 [batch, width] to themselves."""
    features = tf.keras.layers.Input((width,), name="features")
    return tf.keras.Model(features, features)


def _look(backbone: Backbone, features: tf.keras.Model, look: Look) -> LookPart:
    if not backbone.trainable:
        return features_as_look(features, look.weight)
    return build_look(features, backbone.look_layers, look.length, look.weight)


def build_look_network(backbone: Backbone, weights: str, dimension: int) -> LookNetwork:
    """Build a network without a head, whose part look is not fitted; raises as `build_network`."""
    features = backbone.build(weights)
    return LookNetwork(backbone, features, build_look(features, backbone.look_layers, dimension, weight=1))


def join(kind: tf.Tensor | None, look: tf.Tensor | None, weight: float) -> tf.Tensor:
    """Join the parts of an embedding, each scaled by the square root of its weight; a part alone is not scaled.

    `weight` is that of look; None stands for a part that the embedding does not have.
    """
    if kind is None or look is None:
        return kind if look is None else look
    return tf.concat([math.sqrt(1 - weight) * kind, math.sqrt(weight) * look], axis=kind.shape.rank - 1)


def is_pretrained(backbone: Backbone, weights: str) -> bool:
    """Whether a backbone with these weights (`auto`, `none` or a file) is pretrained."""
    return backbone.has_weights and weights != NONE


def build_for(recipe: Recipe, backbone: Backbone, weights: str) -> EmbeddingNetwork:
    """Build the network that a recipe trains; see `build_network` and `prepared`."""
    adapted = prepared(backbone, recipe.preparation)
    return build_network(adapted, weights, recipe.dimension, recipe.head, learns=recipe.learns, look=recipe.look)


def prepared(backbone: Backbone, preparation: Preparation) -> Backbone:
    """Return the backbone with the preprocessing of a recipe; raise `LookalikeError` if it does not accept the size."""
    return replace(
        backbone,
        resize=preparation.rule(backbone.resize),
        train_size=preparation.train_size or preparation.size or backbone.train_size,
        unit_pixels=preparation.pixels == "unit",
    )


def initialize_batch_norm(features: tf.keras.Model, pixels: tf.Tensor) -> None:
    """Set the moving statistics of batch normalization to those of some photos, and lower their momentum.

    With Keras's initial statistics of 0 and 1, the features of a deep network without pretrained weights vanish for
    hundreds of steps. The pixels are float32 [batch, height, width, 3] in 0…255.
    """
    layers = [layer for layer in features.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    if not layers:
        return
    trainable = layers[0].trainable
    for layer in layers:
        layer.momentum, layer.trainable = 0.0, True  # a frozen layer does not update its statistics
    features(pixels, training=True)
    for layer in layers:
        layer.momentum, layer.trainable = MOMENTUM_FROM_SCRATCH, trainable


def embed(model: tf.keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Run a model on images uint8 [images, size, size, 3] in batches: float32 [images, d], unit length."""
    return to_unit_length(predict(model, images))


def predict(model: tf.keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Run a model on images uint8 [images, size, size, 3], which may be mapped from a file, in batches of 64."""
    return np.concatenate([np.asarray(model.predict_on_batch(images[batch])) for batch in slices(len(images))])


def _inputs(backbone: Backbone) -> tuple[tf.Tensor, tf.Tensor]:
    """The input of the exported model, uint8 [batch, size, size, 3], and that of the backbone."""
    size = backbone.resize.size
    images = tf.keras.layers.Input((size, size, 3), dtype=tf.uint8, name="images")
    return images, tf.cast(images, tf.float32)


def _freeze_lower_layers(features: tf.keras.Model, fine_tune_from: str | None) -> None:
    """Freeze all layers below the named one (None: no layers), and batch normalization everywhere."""
    frozen = fine_tune_from is not None
    for layer in features.layers:
        if layer.name == fine_tune_from:
            frozen = False
        layer.trainable = not frozen and not isinstance(layer, tf.keras.layers.BatchNormalization)


def _build_head(width: int, dimension: int, head: AnyHead) -> tuple[tf.keras.Model, tf.keras.Model]:
    """Return the models `projection` and `head` of an `EmbeddingNetwork`."""
    features = tf.keras.layers.Input((width,), name="features")
    x = _mean_centred(features, dimension, head) if isinstance(head, MeanCentred) else _dense(features, dimension, head)
    x = tf.keras.layers.Activation("linear", dtype="float32", name="float32")(x)
    unit = tf.keras.layers.UnitNormalization(dtype="float32", name="embeddings")(x)
    return tf.keras.Model(features, x, name="projection"), tf.keras.Model(features, unit, name="head")


def _dense(features: tf.Tensor, dimension: int, head: Head) -> tf.Tensor:
    x = tf.keras.layers.Dropout(head.dropout, name="dropout")(features)
    if head.hidden:
        x = tf.keras.layers.Dense(head.hidden, activation="relu", name="hidden")(x)
    initializer, activation = "zeros" if head.zeros else "glorot_uniform", "relu" if head.relu else None
    return tf.keras.layers.Dense(dimension, activation, kernel_initializer=initializer, name=PROJECTION)(x)


def _mean_centred(features: tf.Tensor, dimension: int, head: MeanCentred) -> tf.Tensor:
    """The mean is subtracted by the bias of the projection, which `EmbeddingNetwork.centre` sets."""
    x = tf.keras.layers.UnitNormalization(dtype="float32", name="directions")(features)
    x = tf.keras.layers.Dense(
        dimension, kernel_initializer="orthogonal", trainable=False, dtype="float32", name=PROJECTION
    )(x)
    return tf.keras.layers.Dropout(head.dropout, dtype="float32", name="dropout")(x)
