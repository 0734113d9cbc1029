"""From Keras to ONNX, and the proof that both give the same embeddings."""

import logging
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import tensorflow as tf
import tf2onnx

from retrieval.bundle import Parity
from retrieval.errors import LookalikeError
from trainer.network import BATCH, EmbeddingNetwork, embed
from trainer.regions import with_regions

OPSET = 17
LOWEST_COSINE = 0.9999
HDF5_OVERHEAD = 1_000_000


def export_onnx(network: EmbeddingNetwork, path: Path) -> None:
    """Write a network as ONNX, from `images` to `embeddings` and, where it has them, `regions`; see `with_regions`.

    Raises:
        LookalikeError: the disk is full.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    size = network.backbone.resize.size
    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, name="images")]
    function = tf.function(with_regions(network), input_signature=signature)
    graph, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    content = graph.SerializeToString()
    _ask_for_room(path.parent, len(content))
    path.write_bytes(content)


def save_weights(embedder: tf.keras.Model, path: Path) -> None:
    """Write a model's weights as Keras reads them (`.weights.h5`).

    Raises:
        LookalikeError: the disk is full.
    """
    _ask_for_room(path.parent, 4 * embedder.count_params() + HDF5_OVERHEAD)
    embedder.save_weights(path)


def run_onnx(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The embeddings that ONNX Runtime computes: float32 [images, d]."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = range(0, len(images), BATCH)
    embeddings = [session.run(["embeddings"], {"images": images[start : start + BATCH]})[0] for start in batches]
    return np.concatenate(embeddings)


def check_parity(embedder: tf.keras.Model, path: Path, images: npt.NDArray[np.uint8]) -> Parity:
    """Compare TensorFlow's embeddings of some photos with ONNX Runtime's.

    Raises:
        LookalikeError: a photo's two embeddings have a cosine below 0.9999, or one of them is no number.
    """
    expected, got = embed(embedder, images), run_onnx(path, images)
    cosines = 1 - ((expected - got) ** 2).sum(axis=1) / 2  # of unit vectors; and two embeddings of zeros agree
    parity = Parity(
        photos=len(images), min_cosine=float(cosines.min()), max_difference=float(np.abs(expected - got).max())
    )
    if not parity.min_cosine >= LOWEST_COSINE:  # false for NaN, too
        raise LookalikeError(
            f"ONNX Runtime's embeddings are not TensorFlow's: the lowest cosine is {parity.min_cosine:.6f}.",
            "No bundle was written; train with the versions of requirements.lock.",
        )
    return parity


def _ask_for_room(folder: Path, size: int) -> None:
    """Refuse before anything is written: HDF5 prints a traceback where a disk fills up under it."""
    if shutil.disk_usage(folder).free < size:
        raise LookalikeError(
            f"The network could not be written to {folder}: no space left on device.",
            f"No bundle was written; make room for {size / 1e6:.0f} MB, or choose another disk.",
        )
