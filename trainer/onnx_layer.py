"""A network that ONNX Runtime computes, as a layer of a Keras model."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.embedder import EMBEDDINGS, IMAGES
from retrieval.session import Session


class OnnxLayer(tf.keras.layers.Layer):  # type: ignore[misc]  # it has no types
    """Pixels float32 [batch, size, size, 3] in 0…255 → embeddings float32 [batch, d] times √d, without a gradient.

    The numbers of the output have the variance of those of a Keras backbone, so that the same learning rates fit.

    Args:
        network: the ONNX file of a bundle.
        dimension: of its embeddings, d.
    """

    def __init__(self, network: Path, dimension: int) -> None:
        super().__init__(trainable=False, dtype="float32", name="features")
        self._session, self._dimension = Session(network), dimension

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Compute the features of a batch."""
        images = tf.saturate_cast(tf.round(pixels), tf.uint8)
        features = tf.numpy_function(self._run, [images], tf.float32, stateful=False)
        return tf.ensure_shape(features, (None, self._dimension)) * self._dimension**0.5

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, int]:
        """Return the shape of the output."""
        return input_shape[0], self._dimension

    def _run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        size = self._session.provider.batch
        batches = (images[start : start + size] for start in range(0, len(images), size))
        return np.concatenate([self._session.run(EMBEDDINGS, {IMAGES: batch}) for batch in batches])
