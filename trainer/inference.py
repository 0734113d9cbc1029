"""Runs Keras models on many photos."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.sampling import slices

AT_ONCE = 16  # on CPUs, batches of 64 take a fifth more time, since their tensors are new pages of memory each time

Outputs = tuple[npt.NDArray[np.float32], ...]
Traced = Callable[[npt.NDArray[np.generic] | tf.Tensor], list[tf.Tensor]]


def run_in_batches(model: Traced, images: npt.NDArray[np.generic] | tf.Tensor) -> Outputs:
    """Run a traced model on images [images, size, size, 3], which may be mapped from a file.

    Returns:
        Each output for all images, float32 [images, …].
    """
    batches = [model(images[batch]) for batch in slices(len(images), AT_ONCE)]
    return tuple(np.concatenate(list(map(np.asarray, output))) for output in zip(*batches, strict=True))


def traced(model: tf.keras.Model) -> Traced:
    """Trace a model once for batches of any size; it computes a list of its outputs."""
    signature = [tf.TensorSpec(model.input.shape, model.input.dtype)]
    run: Traced = tf.function(lambda images: tf.nest.flatten(model(images, training=False)), input_signature=signature)
    return run
