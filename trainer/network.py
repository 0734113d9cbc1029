"""The embedding network: backbone, then head, then unit length."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.backbones.base import NONE, Backbone
from trainer.recipes import Head

BATCH = 64


@dataclass(frozen=True)
class EmbeddingNetwork:
    """A network in the two parts that are trained apart.

    Attributes:
        backbone: what it is built on.
        features: Keras model, pixels float32 [batch, height, width, 3] in 0…255 → features float32 [batch, f].
        head: Keras model, features → embeddings float32 [batch, d], unit length.
        pretrained: whether the features start with trained weights.
    """

    backbone: Backbone
    features: tf.keras.Model
    head: tf.keras.Model
    pretrained: bool

    def whole(self) -> tf.keras.Model:
        """The model that is exported: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d]."""
        size = self.backbone.resize.size
        images = tf.keras.layers.Input((size, size, 3), dtype=tf.uint8, name="images")
        embeddings = self.head(self.features(tf.cast(images, tf.float32), training=False), training=False)
        return tf.keras.Model(images, embeddings, name="embedder")

    def features_only(self) -> tf.keras.Model:
        """Like `whole`, but ending with the backbone's features, not of unit length."""
        size = self.backbone.resize.size
        images = tf.keras.layers.Input((size, size, 3), dtype=tf.uint8, name="images")
        return tf.keras.Model(images, self.features(tf.cast(images, tf.float32), training=False), name="features")


def build_network(backbone: Backbone, weights: str, dimension: int, head: Head) -> EmbeddingNetwork:
    """A network ready for training: its batch normalisation at rest, its lower part frozen where it is pretrained."""
    features = backbone.build(weights)
    pretrained = backbone.has_weights and weights != NONE
    frozen = pretrained and backbone.upper_part is not None
    for layer in features.layers:
        if layer.name == backbone.upper_part:
            frozen = False
        layer.trainable = not frozen and not isinstance(layer, tf.keras.layers.BatchNormalization)
    return EmbeddingNetwork(backbone, features, _build_head(features.output_shape[-1], dimension, head), pretrained)


def embed(model: tf.keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A model's output for many images, scaled to unit length: float32 [images, d]."""
    outputs = model.predict(images, batch_size=BATCH, verbose=0)
    return np.asarray(outputs / np.maximum(np.linalg.norm(outputs, axis=1, keepdims=True), 1e-12), np.float32)


def _build_head(width: int, dimension: int, head: Head) -> tf.keras.Model:
    features = tf.keras.layers.Input((width,), name="features")
    x = tf.keras.layers.Dropout(head.dropout, name="dropout")(features)
    x = tf.keras.layers.Dense(dimension, name="projection")(x)
    return tf.keras.Model(features, tf.keras.layers.UnitNormalization(name="embeddings")(x), name="head")
