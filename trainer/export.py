"""From Keras to ONNX, and the proof that both give the same embeddings."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx

from retrieval.bundle import Parity
from retrieval.embedder import open_session
from retrieval.errors import LookalikeError
from trainer.extra import first_line
from trainer.network import EmbeddingNetwork, embed
from trainer.regions import with_regions
from trainer.sampling import slices

OPSET = 17
LOWEST_COSINE = 0.9999
HDF5_OVERHEAD = 1_000_000


def export_onnx(network: EmbeddingNetwork, path: Path) -> None:
    """Write a network as ONNX: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d].

    Where the network can say what its embeddings are made of, there are an optional input `explain` and an output
    `regions`, too; see `with_regions`.

    Raises:
        LookalikeError: the disk is full.
    """
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it can't convert, ONNX Runtime refuses
    size, embedder, explained = network.backbone.resize.size, network.whole(), with_regions(network)

    def run(images: tf.Tensor, *explain: tf.Tensor) -> dict[str, tf.Tensor]:
        return explained(images, *explain) if explained else {"embeddings": embedder(images, training=False)}

    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, name="images")]
    if explained:
        signature.append(tf.TensorSpec((), tf.bool, name="explain"))
    function = tf.function(run, input_signature=signature)
    with _without_xla(network.features):
        model, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    _keep_constants(model.graph, function.get_concrete_function().graph)
    if explained:  # an input with an initializer is optional
        model.graph.initializer.append(onnx.helper.make_tensor("explain", onnx.TensorProto.BOOL, (), [False]))
    content = model.SerializeToString()
    ask_for_room(path.parent, len(content))
    path.write_bytes(content)


def save_weights(embedder: tf.keras.Model, path: Path) -> None:
    """Write a model's weights as Keras reads them (`.weights.h5`).

    Raises:
        LookalikeError: the disk is full.
    """
    ask_for_room(path.parent, 4 * embedder.count_params() + HDF5_OVERHEAD)
    embedder.save_weights(path)


def run_onnx(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The embeddings that ONNX Runtime computes: float32 [images, d].

    Raises:
        LookalikeError: it can't run the network, which has operations that ONNX does not have.
    """
    try:
        session = open_session(path)
    except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
        raise LookalikeError(
            f"ONNX Runtime can't run the network ({first_line(error)}).",
            "No bundle was written; choose another backbone.",
        ) from None
    return np.concatenate([session.run(["embeddings"], {"images": images[part]})[0] for part in slices(len(images))])


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


def ask_for_room(folder: Path, size: int) -> None:
    """Refuse before anything is written: HDF5 prints a traceback where a disk fills up under it.

    Raises:
        LookalikeError: the folder's disk has less room than `size`, in bytes.
    """
    if shutil.disk_usage(folder).free < size:
        raise LookalikeError(
            f"The network could not be written to {folder}: no space left on device.",
            f"No bundle was written; make room for {size / 1e6:.0f} MB, or choose another disk.",
        )


@contextmanager
def _without_xla(features: tf.keras.Model) -> Iterator[None]:
    """Within it, grouped convolutions are traced as they are; Keras has XLA compile them, which ONNX can't express."""
    grouped = {
        layer: layer.groups
        for layer in features.layers
        if isinstance(layer, tf.keras.layers.Conv2D) and layer.groups > 1
    }
    for layer in grouped:
        layer.groups = 1  # the shape of its kernel tells how many there are
    try:
        yield
    finally:
        for layer, groups in grouped.items():
            layer.groups = groups


def _keep_constants(converted: onnx.GraphProto, traced: tf.Graph) -> None:
    """Put in what layers hold as constants, such as a mean to subtract; the converter takes them for inputs."""
    constants = {inner.name: outer for outer, inner in traced.captures}
    for entry in [entry for entry in converted.input if entry.name in constants]:
        converted.input.remove(entry)
        converted.initializer.append(onnx.numpy_helper.from_array(constants[entry.name].numpy(), entry.name))
