"""Export from Keras to ONNX, and the check that both compute the same embeddings."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf
import tf2onnx

from retrieval.bundle_format import Parity
from retrieval.errors import LookalikeError, first_line
from retrieval.session import Session
from retrieval.top_k import Embeddings
from trainer.backbones.imported import ImportedNetwork
from trainer.canonical_graph import make_canonical
from trainer.imported_graph import write_with_head
from trainer.inference import AT_ONCE
from trainer.network import EmbeddingNetwork, LookNetwork, embed
from trainer.regions import with_regions
from trainer.sampling import slices

OPSET = 17
CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"  # a variable of the converter: if set, it skips no optimization that fails
MIN_COSINE = 0.9999
HDF5_OVERHEAD = 1_000_000


def export_onnx(network: EmbeddingNetwork | LookNetwork, path: Path) -> None:
    """Write a network as ONNX: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d].

    If `with_regions` supports the network, the graph also has an optional input `explain` and an output `regions`.
    Raises `LookalikeError` if the disk is full.
    """
    if isinstance(network, EmbeddingNetwork) and isinstance(network.backbone, ImportedNetwork):
        imported = network.backbone.bundle.network
        check_free_space(path.parent, 2 * imported.stat().st_size)
        write_with_head(imported, network, path)
        return
    content = _of_keras(network).SerializeToString()
    check_free_space(path.parent, len(content))
    path.write_bytes(content)


def _of_keras(network: EmbeddingNetwork | LookNetwork) -> onnx.ModelProto:
    """Convert a Keras network; see `export_onnx`."""
    size, embedder, explained = network.backbone.resize.size, network.whole(), with_regions(network)

    def run(images: tf.Tensor, *explain: tf.Tensor) -> dict[str, tf.Tensor]:
        return explained(images, *explain) if explained else {"embeddings": embedder(images, training=False)}

    signature = [tf.TensorSpec((None, size, size, 3), tf.uint8, name="images")]
    if explained:
        signature.append(tf.TensorSpec((), tf.bool, name="explain"))
    function = tf.function(run, input_signature=signature)
    with _without_xla(network.features):
        model = _converted(function, signature)
    _keep_constants(model.graph, function.get_concrete_function().graph)
    make_canonical(model.graph)
    if explained:  # the initializer makes the input optional
        model.graph.initializer.append(onnx.helper.make_tensor("explain", onnx.TensorProto.BOOL, (), [False]))
    return model


def save_weights(embedder: tf.keras.Model, path: Path) -> None:
    """Write the weights of a model as a Keras file (`.weights.h5`); raises `LookalikeError` if the disk is full."""
    check_free_space(path.parent, 4 * embedder.count_params() + HDF5_OVERHEAD)
    embedder.save_weights(path)


def run_onnx(path: Path, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Compute the embeddings of images uint8 [images, size, size, 3] with ONNX Runtime: float32 [images, d].

    Raises `LookalikeError` if the network has operations that ONNX Runtime does not support.
    """
    try:
        session = Session(path)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise LookalikeError(
            f"ONNX Runtime can't run the network ({first_line(error)}).",
            "No bundle was written; choose another backbone.",
        ) from None
    batches = slices(len(images), AT_ONCE)
    return np.concatenate([session.run("embeddings", {"images": images[batch]}) for batch in batches])


def check_parity(embedder: tf.keras.Model, path: Path, images: npt.NDArray[np.uint8]) -> Parity:
    """Compare the embeddings of images uint8 [images, size, size, 3] by both libraries, see `parity_of`."""
    return parity_of(embed(embedder, images), run_onnx(path, images))


def parity_of(expected: Embeddings, actual: Embeddings) -> Parity:
    """Compare embeddings of the same images by TensorFlow (`expected`) and by ONNX Runtime, float32 [images, d].

    Raises `LookalikeError` if the cosine similarity of an image's two embeddings is below 0.9999 or NaN.
    """
    cosines = 1 - ((expected - actual) ** 2).sum(axis=1) / 2  # for unit vectors; 1 if both embeddings are zero
    parity = Parity(
        photos=len(expected), min_cosine=float(cosines.min()), max_difference=float(np.abs(expected - actual).max())
    )
    if not parity.min_cosine >= MIN_COSINE:  # also true for NaN
        raise LookalikeError(
            f"The embeddings of ONNX Runtime and TensorFlow differ: the lowest cosine is {parity.min_cosine:.6f}.",
            "No bundle was written; train with the library versions of requirements.lock.",
        )
    return parity


def check_free_space(folder: Path, size: int) -> None:
    """Check the free space before a file is written, since HDF5 prints a traceback when a disk is full.

    Raises `LookalikeError` if the disk of the folder has less than `size` bytes of free space.
    """
    if shutil.disk_usage(folder).free < size:
        raise LookalikeError(
            f"The network could not be written to {folder}: no space left on device.",
            f"No bundle was written; free {size / 1e6:.0f} MB, or choose another disk.",
        )


def _converted(function: Any, signature: list[tf.TensorSpec]) -> onnx.ModelProto:
    """Convert a `tf.function`; if an optimization of the graph fails, convert again and skip those that fail.

    To skip one, the converter copies the graph before each optimization, which takes a third of the time.
    """
    model: onnx.ModelProto
    try:
        os.environ[CATCH_ERRORS] = "FALSE"
        model, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    except Exception:  # an optimization may raise any exception
        del os.environ[CATCH_ERRORS]
        model, _ = tf2onnx.convert.from_function(function, signature, opset=OPSET)
    return model


@contextmanager
def _without_xla(features: tf.keras.Model) -> Iterator[None]:
    """Within the context, grouped convolutions are traced as plain operations: Keras uses XLA, which ONNX lacks."""
    grouped = {
        layer: layer.groups
        for layer in features.layers
        if isinstance(layer, tf.keras.layers.Conv2D) and layer.groups > 1
    }
    for layer in grouped:
        layer.groups = 1  # the number of groups follows from the shape of the kernel
    try:
        yield
    finally:
        for layer, groups in grouped.items():
            layer.groups = groups


def _keep_constants(converted: onnx.GraphProto, traced: tf.Graph) -> None:
    """Turn constants of layers, such as a mean to subtract, into initializers; the converter makes them inputs."""
    constants = {inner.name: outer for outer, inner in traced.captures}
    for entry in [entry for entry in converted.input if entry.name in constants]:
        converted.input.remove(entry)
        converted.initializer.append(onnx.numpy_helper.from_array(constants[entry.name].numpy(), entry.name))
