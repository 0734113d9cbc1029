"""Small networks with the odd features of real ones, as ONNX files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 32
PATCH = 8
WIDTH = 24
TOKENS = (SIZE // PATCH) ** 2 + 1
DTYPES = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}


class Graph:
    """Collects the nodes and weights of a graph."""

    def __init__(self, seed: int = 0, type: int = TensorProto.FLOAT) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.type = type
        self._random = np.random.default_rng(seed)

    def add(self, op: str, *inputs: str, to: str | None = None, **attributes: object) -> str:
        output = to or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def weight(self, *shape: int, scale: float = 0.2) -> str:
        values = self._random.normal(0, scale, shape)
        return self.constant(values.astype(DTYPES[self.type]))

    def constant(self, value: object) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def model(self, inputs: dict[str, tuple[int, list]], outputs: dict[str, list], opset: int = 17) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
            [helper.make_tensor_value_info(name, self.type, shape) for name, shape in outputs.items()],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def transformer(graph: Graph, tokens: str, count: int) -> str:
    """One layer of attention over tokens, [n, count, WIDTH]."""
    query, key, value = (graph.add("MatMul", tokens, graph.weight(WIDTH, WIDTH)) for _ in range(3))
    scores = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1]))
    attended = graph.add("MatMul", graph.add("Softmax", scores, axis=2), value)
    return graph.add("Add", tokens, attended)


def vision(
    *,
    layout: str = "nchw",
    batch: object = "batch",
    type: int = TensorProto.FLOAT,
    pooled: bool = True,
    opset: int = 17,
    fixed_inside: bool = False,
    name: str = "pixel_values",
    output: str = "image_embeds",
    dimension: int = 16,
    seed: int = 0,
) -> onnx.ModelProto:
    """A patch embedding with attention, [batch, 3, SIZE, SIZE] → [batch, dimension] or [batch, TOKENS, WIDTH]."""
    graph = Graph(seed, type)
    planes = name if layout == "nchw" else graph.add("Transpose", name, perm=[0, 3, 1, 2])
    cells = graph.add(
        "Conv", planes, graph.weight(WIDTH, 3, PATCH, PATCH), kernel_shape=[PATCH] * 2, strides=[PATCH] * 2
    )
    shape = [1 if fixed_inside else 0, WIDTH, -1]
    patches = graph.add("Transpose", graph.add("Reshape", cells, graph.constant(shape)), perm=[0, 2, 1])
    first = graph.add("Slice", patches, *(graph.constant([value]) for value in (0, 1, 1)))
    tokens = graph.add("Concat", first, patches, axis=1)
    tokens = graph.add("Add", tokens, graph.weight(1, TOKENS, WIDTH))
    tokens = transformer(graph, tokens, TOKENS)
    if pooled:
        cls = graph.add("Gather", tokens, graph.constant(0), axis=1)
        graph.add("MatMul", cls, graph.weight(WIDTH, dimension), to=output)
    else:
        graph.add("Identity", tokens, to=output)
    size = [batch, 3, SIZE, SIZE] if layout == "nchw" else [batch, SIZE, SIZE, 3]
    return graph.model({name: (type, size)}, {output: [batch, dimension] if pooled else [batch, TOKENS, WIDTH]}, opset)


def convolutional(*, classes: int = 0, opset: int = 13, seed: int = 0) -> onnx.ModelProto:
    """A convolution and global pooling, to a feature map or to the scores of classes."""
    graph = Graph(seed)
    cells = graph.add("Conv", "input", graph.weight(WIDTH, 3, 4, 4), kernel_shape=[4, 4], strides=[4, 4])
    cells = graph.add("Relu", cells, to="feature_map")
    shape = ["n", WIDTH, SIZE // 4, SIZE // 4]
    if classes:
        flat = graph.add("Flatten", graph.add("GlobalAveragePool", cells), to="flat")
        graph.add("Gemm", flat, graph.weight(WIDTH, classes), graph.weight(classes), to="scores_of_classes")
        return graph.model({"input": (graph.type, ["n", 3, SIZE, SIZE])}, {"scores_of_classes": ["n", classes]}, opset)
    return graph.model({"input": (graph.type, ["n", 3, SIZE, SIZE])}, {"feature_map": shape}, opset)


def saved(model: onnx.ModelProto, path: Path, change: Callable[[onnx.ModelProto], None] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if change:
        change(model)
    onnx.save(model, path)
    return path
