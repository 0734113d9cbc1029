"""The graphs of a bundle around those of a network: photos or texts in, unit vectors out.

The added operators are the same in all opsets from 11.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from retrieval.embedder import EMBEDDINGS, IMAGES
from retrieval.importing.graph import Tensor, prune, rename
from retrieval.importing.preprocessing import Layout, Pool, Preprocessing
from retrieval.text_embedder import ATTENTION_MASK, INPUT_IDS

RESERVED: Final = (IMAGES, EMBEDDINGS, INPUT_IDS, ATTENTION_MASK)
ADDED: Final = "lookalike/"  # before the names of added tensors


@dataclass(frozen=True, slots=True)
class ImageNetwork:
    """How a network embeds photos."""

    input: Tensor
    output: str
    layout: Layout
    pool: Pool | None  # of an output that is not one vector per photo
    rank: int  # number of axes of the output
    dimension: int
    preprocessing: Preprocessing

    @property
    def takes_bytes(self) -> bool:
        """Whether the input are pixels from 0 to 255, as in a photo."""
        return self.input.type == TensorProto.UINT8

    @property
    def factors(self) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.float32]]]:
        """What a pixel is multiplied by, and what is added then: float32 [3] each."""
        assert self.preprocessing.mean is not None and self.preprocessing.std is not None
        mean, std = np.array(self.preprocessing.mean), np.array(self.preprocessing.std)
        return (self.preprocessing.rescale / std).astype(np.float32), (-mean / std).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TextNetwork:
    """How a network embeds texts."""

    ids: Tensor
    mask: Tensor | None  # which tokens are those of the text
    others: tuple[Tensor, ...]  # of zeros
    output: str
    rank: int  # number of axes of the output; 3 if it is a vector for each token
    dimension: int


def wrap_images(model: onnx.ModelProto, network: ImageNetwork, *, one_by_one: bool = False) -> None:
    """Change a graph to `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d] of unit length.

    Args:
        one_by_one: whether the network takes one photo at a time; then the graph repeats it for each.
    """
    graph, names = _prepared(model, network.output)
    size = network.preprocessing.size
    pixels, prepare = normalized(graph, network)
    pool = _pooled(graph, names.get(network.output, network.output), network)
    inner = names.get(network.input.name, network.input.name)
    if one_by_one:
        core = [*prepare, *_repeated(graph, pixels, inner, pool, network)]
    else:
        _insert(graph, [*prepare, helper.make_node("Identity", [pixels], [inner])])
        core = pool
    vector = core[-1].output[0]
    graph.node.extend([*core, helper.make_node("LpNormalization", [vector], [EMBEDDINGS], axis=1, p=2)])
    _declare(graph, {IMAGES: (TensorProto.UINT8, ["batch", size, size, 3])}, network.dimension)


def wrap_texts(model: onnx.ModelProto, network: TextNetwork) -> None:
    """Change a graph to `input_ids` and `attention_mask` int64 [batch, tokens] → `embeddings`, as for photos."""
    graph, names = _prepared(model, network.output)

    def inner(tensor: Tensor) -> str:
        return names.get(tensor.name, tensor.name)

    before = [helper.make_node("Cast", [INPUT_IDS], [inner(network.ids)], to=network.ids.type)]
    if network.mask is not None:
        before.append(helper.make_node("Cast", [ATTENTION_MASK], [inner(network.mask)], to=network.mask.type))
    before += [helper.make_node("Sub", [inner(network.ids)] * 2, [f"{ADDED}zeros"])] if network.others else []
    before += [helper.make_node("Cast", [f"{ADDED}zeros"], [inner(other)], to=other.type) for other in network.others]
    _insert(graph, before)
    output = names.get(network.output, network.output)
    after = [helper.make_node("Cast", [output], [f"{ADDED}output"], to=TensorProto.FLOAT)]
    if network.rank == 3:  # the sum over the tokens of the text has the direction of their mean
        one_row = _constant(graph, "one_row", np.array([0, 1, -1]))
        after += [
            helper.make_node("Cast", [ATTENTION_MASK], [f"{ADDED}counted"], to=TensorProto.FLOAT),
            helper.make_node("Reshape", [f"{ADDED}counted", one_row], [f"{ADDED}weights"]),
            helper.make_node("MatMul", [f"{ADDED}weights", f"{ADDED}output"], [f"{ADDED}sum"]),
            helper.make_node("Flatten", [f"{ADDED}sum"], [f"{ADDED}vectors"], axis=1),
        ]
    last = after[-1].output[0]
    graph.node.extend([*after, helper.make_node("LpNormalization", [last], [EMBEDDINGS], axis=1, p=2)])
    tokens = (TensorProto.INT64, ["batch", "tokens"])
    _declare(graph, {INPUT_IDS: tokens, ATTENTION_MASK: tokens}, network.dimension)


def normalized(graph: onnx.GraphProto, network: ImageNetwork) -> tuple[str, list[onnx.NodeProto]]:
    """Return the tensor of the values that the network takes, and the operators that compute it from `images`."""
    nodes, last = [], IMAGES
    if not network.takes_bytes:
        scale, shift = network.factors
        nodes += [
            helper.make_node("Cast", [IMAGES], [f"{ADDED}floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{ADDED}floats", _constant(graph, "scale", scale)], [f"{ADDED}scaled"]),
            helper.make_node("Add", [f"{ADDED}scaled", _constant(graph, "shift", shift)], [f"{ADDED}shifted"]),
        ]
        last = f"{ADDED}shifted"
    if network.layout == "nchw":
        nodes.append(helper.make_node("Transpose", [last], [f"{ADDED}planes"], perm=[0, 3, 1, 2]))
        last = f"{ADDED}planes"
    nodes.append(helper.make_node("Cast", [last], [f"{ADDED}input"], to=network.input.type))
    return f"{ADDED}input", nodes


def _prepared(model: onnx.ModelProto, output: str) -> tuple[onnx.GraphProto, dict[str, str]]:
    """Return the graph that computes an output, with names that the bundle's do not clash with, and the new names."""
    prune(model, output)
    renamed = rename(model.graph, RESERVED)
    del model.graph.input[:]
    del model.graph.output[:]
    return model.graph, renamed


def _pooled(graph: onnx.GraphProto, output: str, network: ImageNetwork) -> list[onnx.NodeProto]:
    """Return the operators that compute one vector per photo, float32, from the output."""
    nodes = [helper.make_node("Cast", [output], [f"{ADDED}output"], to=TensorProto.FLOAT)]
    last = f"{ADDED}output"
    if network.rank > 2 and network.pool == "cls":
        first = _constant(graph, "first", np.array(0))
        nodes.append(helper.make_node("Gather", [last, first], [f"{ADDED}vector"], axis=1))
    elif network.rank > 2:
        if network.rank == 3 or network.layout == "nhwc":  # the axis of the vectors is the last
            order = [0, 2, 1] if network.rank == 3 else [0, 3, 1, 2]
            nodes.append(helper.make_node("Transpose", [last], [f"{ADDED}transposed"], perm=order))
            last = f"{ADDED}transposed"
        nodes += [
            helper.make_node("GlobalAveragePool", [last], [f"{ADDED}mean"]),
            helper.make_node("Flatten", [f"{ADDED}mean"], [f"{ADDED}vector"], axis=1),
        ]
    return nodes


def _repeated(
    graph: onnx.GraphProto, pixels: str, inner: str, pool: list[onnx.NodeProto], network: ImageNetwork
) -> list[onnx.NodeProto]:
    """Move the operators of a graph, and those that pool its output, into a loop over the photos; return the loop.

    The weights stay outside, where the loop finds them.
    """
    size = network.preprocessing.size
    shape = [1, 3, size, size] if network.layout == "nchw" else [1, size, size, 3]
    batch_of_one, flat = _constant(graph, "batch_of_one", np.array(shape)), _constant(graph, "flat", np.array([-1]))
    one, embedding = f"{ADDED}one", f"{ADDED}embedding"
    body = helper.make_graph(
        [helper.make_node("Reshape", [one, batch_of_one], [inner])],
        "one_photo",
        [helper.make_tensor_value_info(one, network.input.type, shape[1:])],
        [helper.make_tensor_value_info(embedding, TensorProto.FLOAT, [network.dimension])],
    )
    body.node.extend(graph.node)
    body.node.extend([*pool, helper.make_node("Reshape", [pool[-1].output[0], flat], [embedding])])
    del graph.node[:]
    return [helper.make_node("Scan", [pixels], [f"{ADDED}vectors"], body=body, num_scan_inputs=1)]


def _insert(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put operators before those of a graph."""
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)


def _constant(graph: onnx.GraphProto, name: str, value: np.ndarray[Any, Any]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, f"{ADDED}{name}"))
    return f"{ADDED}{name}"


def _declare(graph: onnx.GraphProto, inputs: dict[str, tuple[int, list[Any]]], dimension: int) -> None:
    graph.input.extend(helper.make_tensor_value_info(name, type, shape) for name, (type, shape) in inputs.items())
    graph.output.append(helper.make_tensor_value_info(EMBEDDINGS, TensorProto.FLOAT, ["batch", dimension]))
