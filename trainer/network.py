"""The embedding network: backbone, head, and normalization to unit length."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.backbones.base import NONE, Backbone
from trainer.recipes.components import Head, MeanCentred, Preparation
from trainer.recipes.recipe import AnyHead, Recipe
from trainer.sampling import BATCH

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

    def whole(self) -> tf.keras.Model:
        """Return the exported model: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d]."""
        return self._from_images(self.head, "embedder")

    def without_unit_length(self) -> tf.keras.Model:
        """Return `whole` without normalization to unit length."""
        return self._from_images(self.projection, "projector")

    def features_only(self) -> tf.keras.Model:
        """Return `whole` without the head: images → features float32 [batch, f], not normalized."""
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
        size = self.backbone.resize.size
        images = tf.keras.layers.Input((size, size, 3), dtype=tf.uint8, name="images")
        outputs = self.features(tf.cast(images, tf.float32), training=False)
        return tf.keras.Model(images, outputs if last is None else last(outputs, training=False), name=name)


def build_network(
    backbone: Backbone, weights: str, dimension: int, head: AnyHead, learns: str = "upper"
) -> EmbeddingNetwork:
    """Build a network for training.

    Args:
        weights: `auto`, `none` or a file; see `Backbone.build`.
        learns: which layers are trainable; see `Recipe`.

    Raises:
        LookalikeError: the weights are not available, or do not fit the backbone.
    """
    features = backbone.build(weights)
    pretrained = is_pretrained(backbone, weights)
    features.trainable = learns != "head"
    frozen, trainable = None, features
    if pretrained and learns == "upper":
        _freeze_lower_layers(features, backbone.fine_tune_from)
        if backbone.fine_tune_from is not None:
            activations = features.get_layer(backbone.fine_tune_from).input
            frozen = tf.keras.Model(features.input, activations)
            trainable = tf.keras.Model(activations, features.output)
    projection, unit = _build_head(features.output_shape[-1], dimension, head)
    return EmbeddingNetwork(backbone, features, projection, unit, pretrained, frozen, trainable)


def is_pretrained(backbone: Backbone, weights: str) -> bool:
    """Whether a backbone with these weights (`auto`, `none` or a file) is pretrained."""
    return backbone.has_weights and weights != NONE


def build_for(recipe: Recipe, backbone: Backbone, weights: str) -> EmbeddingNetwork:
    """Build the network that a recipe trains; see `build_network` and `prepared`."""
    adapted = prepared(backbone, recipe.preparation)
    return build_network(adapted, weights, recipe.dimension, recipe.head, recipe.learns)


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
    return to_unit_length(model.predict(images, batch_size=BATCH, verbose=0))


def to_unit_length(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide each row by its Euclidean length; rows of zeros stay zeros."""
    return np.asarray(outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12), np.float32)


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
