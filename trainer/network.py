"""The embedding network: backbone, then head, then unit length."""

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
LAST_DENSE = "projection"


@dataclass(frozen=True)
class EmbeddingNetwork:
    """A network in the parts that are trained apart.

    Attributes:
        backbone: what it is built on.
        features: Keras model, pixels float32 [batch, height, width, 3] in 0…255 → features float32 [batch, f].
        projection: Keras model, features → embeddings float32 [batch, d] of any length.
        head: the projection, scaled to unit length.
        pretrained: whether the features start with trained weights.
        frozen: the part of `features` that does not learn, from pixels to maps; None: there is none apart.
        trainable: the rest of `features`, from those maps on, or all of it.
    """

    backbone: Backbone
    features: tf.keras.Model
    projection: tf.keras.Model
    head: tf.keras.Model
    pretrained: bool
    frozen: tf.keras.Model | None
    trainable: tf.keras.Model

    def whole(self) -> tf.keras.Model:
        """The model that is exported: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d]."""
        return self._from_images(self.head, "embedder")

    def without_unit_length(self) -> tf.keras.Model:
        """Like `whole`, but ending before embeddings are scaled to unit length."""
        return self._from_images(self.projection, "projector")

    def features_only(self) -> tf.keras.Model:
        """Like `whole`, but ending with the backbone's features, not of unit length."""
        return self._from_images(None, "features")

    def centre(self, features: npt.NDArray[np.float32]) -> None:
        """Where the head is `MeanCentred`, let embeddings be seen from the middle of features, float32 [photos, f]."""
        layer = self.projection.get_layer(LAST_DENSE)
        layer.bias.assign(-to_unit_length(features).mean(axis=0) @ layer.kernel.numpy())

    @contextmanager
    def centred_on(self, features: npt.NDArray[np.float32]) -> Iterator[None]:
        """Within a `with` statement embeddings are seen from there; see `centre`."""
        bias = self.projection.get_layer(LAST_DENSE).bias
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
    """A network ready for training.

    Args:
        backbone: what it is built on.
        weights: `auto`, `none` or a file.
        dimension: length of the embeddings.
        head: from features to the embedding.
        learns: which part will learn; see `Recipe`.

    Raises:
        LookalikeError: the weights can't be had.
    """
    features = backbone.build(weights)
    pretrained = starts_trained(backbone, weights)
    features.trainable = learns != "head"
    frozen, trainable = None, features
    if pretrained and learns == "upper":
        _free_upper_part(features, backbone.upper_part)
        if backbone.upper_part is not None:
            maps = features.get_layer(backbone.upper_part).input
            frozen, trainable = tf.keras.Model(features.input, maps), tf.keras.Model(maps, features.output)
    projection, unit = _build_head(features.output_shape[-1], dimension, head)
    return EmbeddingNetwork(backbone, features, projection, unit, pretrained, frozen, trainable)


def starts_trained(backbone: Backbone, weights: str) -> bool:
    """Whether a backbone with these weights (`auto`, `none` or a file) starts with trained ones."""
    return backbone.has_weights and weights != NONE


def build_for(recipe: Recipe, backbone: Backbone, weights: str) -> EmbeddingNetwork:
    """The network that a recipe trains; see `build_network` and `prepared`."""
    fed = prepared(backbone, recipe.preparation)
    return build_network(fed, weights, recipe.dimension, recipe.head, recipe.learns)


def prepared(backbone: Backbone, preparation: Preparation) -> Backbone:
    """A backbone as a recipe feeds it; raises `LookalikeError` where it does not accept photos of that size."""
    return replace(
        backbone,
        resize=preparation.rule(backbone.resize),
        train_size=preparation.train_size or preparation.size or backbone.train_size,
        unit_pixels=preparation.pixels == "unit",
    )


def begin_statistics(features: tf.keras.Model, pixels: tf.Tensor) -> None:
    """Let batch normalisation start from the statistics of some photos, and follow those of the batches closely.

    Keras starts from 0 and 1, with which the features of a deep network vanish, and takes hundreds of steps from there.

    Args:
        features: a network without trained weights.
        pixels: float32 [batch, height, width, 3] in 0…255.
    """
    normalisations = [layer for layer in features.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    if not normalisations:
        return
    learns = normalisations[0].trainable
    for layer in normalisations:
        layer.momentum, layer.trainable = 0.0, True  # one that rests looks at no photo
    features(pixels, training=True)
    for layer in normalisations:
        layer.momentum, layer.trainable = MOMENTUM_FROM_SCRATCH, learns


def embed(model: tf.keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A model's output for many images, scaled to unit length: float32 [images, d]."""
    return to_unit_length(model.predict(images, batch_size=BATCH, verbose=0))


def to_unit_length(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each row divided by its length; rows of zeros stay zeros."""
    return np.asarray(outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12), np.float32)


def _free_upper_part(features: tf.keras.Model, upper_part: str | None) -> None:
    """Let all layers from that one on learn, or all where it is None; batch normalisation stays at rest."""
    frozen = upper_part is not None
    for layer in features.layers:
        if layer.name == upper_part:
            frozen = False
        layer.trainable = not frozen and not isinstance(layer, tf.keras.layers.BatchNormalization)


def _build_head(width: int, dimension: int, head: AnyHead) -> tuple[tf.keras.Model, tf.keras.Model]:
    """The projection, and the projection scaled to unit length."""
    features = tf.keras.layers.Input((width,), name="features")
    x = _centred(features, dimension, head) if isinstance(head, MeanCentred) else _learned(features, dimension, head)
    x = tf.keras.layers.Activation("linear", dtype="float32", name="float32")(x)
    unit = tf.keras.layers.UnitNormalization(dtype="float32", name="embeddings")(x)
    return tf.keras.Model(features, x, name="projection"), tf.keras.Model(features, unit, name="head")


def _learned(features: tf.Tensor, dimension: int, head: Head) -> tf.Tensor:
    x = tf.keras.layers.Dropout(head.dropout, name="dropout")(features)
    if head.hidden:
        x = tf.keras.layers.Dense(head.hidden, activation="relu", name="hidden")(x)
    start, activation = "zeros" if head.zeros else "glorot_uniform", "relu" if head.relu else None
    return tf.keras.layers.Dense(dimension, activation, kernel_initializer=start, name=LAST_DENSE)(x)


def _centred(features: tf.Tensor, dimension: int, head: MeanCentred) -> tf.Tensor:
    """Where the middle is, `EmbeddingNetwork.centre` says."""
    x = tf.keras.layers.UnitNormalization(dtype="float32", name="directions")(features)
    x = tf.keras.layers.Dense(
        dimension, kernel_initializer="orthogonal", trainable=False, dtype="float32", name=LAST_DENSE
    )(x)
    return tf.keras.layers.Dropout(head.dropout, dtype="float32", name="dropout")(x)
