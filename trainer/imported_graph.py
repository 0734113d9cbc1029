"""The ONNX graph of an imported network with the head that was trained on its embeddings.

The added operators are the same in all opsets from 11.
"""

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from retrieval.embedder import EMBEDDINGS
from retrieval.importing.graph import prune, rename
from retrieval.importing.onnx_file import read_graph, write_graph
from trainer.network import EmbeddingNetwork

ADDED: Final = "head/"  # before the names of added tensors


def write_with_head(imported: Path, network: EmbeddingNetwork, path: Path) -> None:
    """Write the graph of a bundle whose embeddings are the part look, extended by the part kind.

    Args:
        imported: the ONNX file of the bundle: `images` → `embeddings`, float32 [batch, f], unit length.
        network: with the trained head, and with the weight of look, or without look.
        path: the file to write.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model, _ = read_graph(imported, Path(folder))
        prune(model, EMBEDDINGS)
        _add_head(model.graph, network)
        write_graph(model, path)


def _add_head(graph: onnx.GraphProto, network: EmbeddingNetwork) -> None:
    """Append the part kind to the embedding."""
    look = rename(graph, [EMBEDDINGS])[EMBEDDINGS]
    kind = _applied(graph, look, network)
    if network.look is None:
        graph.node.append(helper.make_node("Identity", [kind], [EMBEDDINGS]))
    else:
        weight = network.look.weight
        scaled = [
            _added(graph, "Mul", part, _constant(graph, np.float32(math.sqrt(of_part))))
            for part, of_part in ((kind, 1 - weight), (look, weight))
        ]
        graph.node.append(helper.make_node("Concat", scaled, [EMBEDDINGS], axis=1))
    dimension = sum(part.length for part in network.parts)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(EMBEDDINGS, TensorProto.FLOAT, ["batch", dimension]))


def _applied(graph: onnx.GraphProto, look: str, network: EmbeddingNetwork) -> str:
    """Append the operators of the head; return the tensor of the part kind."""
    scale = np.float32(math.sqrt(network.features.output_shape[-1]))  # as in `OnnxLayer`
    last = _added(graph, "Mul", look, _constant(graph, scale))
    for layer in network.head.layers:
        for operator, *constants in _operators(layer):
            attributes = {"axis": 1, "p": 2} if operator == "LpNormalization" else {}
            last = _added(graph, operator, last, *(_constant(graph, value) for value in constants), **attributes)
    return last


def _operators(layer: tf.keras.layers.Layer) -> Iterator[tuple[Any, ...]]:
    """The operators of a layer of a head, each with its constants."""
    if isinstance(layer, tf.keras.layers.UnitNormalization):
        yield ("LpNormalization",)
    if isinstance(layer, tf.keras.layers.Dense):
        yield "MatMul", layer.kernel.numpy()
        yield "Add", layer.bias.numpy()
        if layer.activation is tf.keras.activations.relu:
            yield ("Relu",)


def _added(graph: onnx.GraphProto, operator: str, *inputs: str, **attributes: Any) -> str:
    output = f"{ADDED}{len(graph.node)}"
    graph.node.append(helper.make_node(operator, list(inputs), [output], **attributes))
    return output


def _constant(graph: onnx.GraphProto, value: Any) -> str:
    name = f"{ADDED}constant_{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    return name
