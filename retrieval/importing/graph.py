"""Finding the input and the output of an embedding in a graph."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto

from retrieval.errors import BadSource

Shape = tuple[int | None, ...]  # None for an axis of any length

FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
INTEGERS: Final = (TensorProto.INT64, TensorProto.INT32)
CLASSIFIERS: Final = (365, 1000, 1001, 10450, 11821, 21841, 21843)  # numbers of classes of well-known data sets
OF_CLASSES: Final = re.compile(r"logit|prob|softmax|sigmoid|class|score|pred", re.IGNORECASE)
ACTIVATIONS: Final = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
PREFERRED: Final = (
    ("image_embeds", "text_embeds"),
    ("image_embeddings", "text_embeddings", "image_features", "text_features"),
    ("embeddings", "embedding", "sentence_embedding", "embeds"),
    ("pooler_output", "pooled_output"),
    ("features",),
    ("last_hidden_state",),
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph."""

    name: str
    type: int  # of its elements, as in `onnx.TensorProto`
    shape: Shape


def inputs_of(model: onnx.ModelProto) -> list[Tensor]:
    """The inputs that have no default."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    return [_tensor(value) for value in model.graph.input if value.name not in defaults]


def outputs_of(model: onnx.ModelProto) -> list[Tensor]:
    """The declared outputs."""
    return [_tensor(value) for value in model.graph.output]


def image_input(path: Path, inputs: Sequence[Tensor]) -> Tensor:
    """Return the input of photos; raises `BadSource` if there is none, or more than one."""
    check_takes_photos(path, inputs)
    image, *others = _images(inputs)
    if others:
        listed = ", ".join(tensor.name for tensor in (image, *others))
        raise BadSource(
            f"{path} has {1 + len(others)} inputs of images: {listed}.",
            "Export the part of the network that embeds one photo.",
        )
    return image


def check_takes_photos(path: Path, inputs: Sequence[Tensor]) -> None:
    """Raise `BadSource` if none of the inputs can be a photo."""
    if not _images(inputs):
        listed = ", ".join(tensor.name for tensor in inputs)
        raise BadSource(
            f"{path} has no input of images; its inputs are {listed}.",
            "Export the part of the network that embeds one photo.",
        )


def choose_output(path: Path, model: onnx.ModelProto, wanted: str | None, *, text: bool = False) -> str:
    """Return the name of the output that is the embedding.

    Args:
        wanted: the output that the user named, or another tensor of the graph.
        text: whether it is the embedding of a text, in a graph that may have both.

    Raises:
        BadSource: there is no such tensor; or the network is a classifier.
    """
    outputs = outputs_of(model)
    if wanted is not None:
        if wanted not in produced(model):
            listed = ", ".join(output.name for output in outputs)
            raise BadSource(f"{path} has no tensor {wanted}.", f"Its outputs are {listed}.")
        return wanted
    other = "image" if text else "text"
    candidates = [
        output
        for output in outputs
        if output.type in FLOATS and len(output.shape) != 1 and not output.name.startswith(other)
    ]
    usable = [output for output in candidates if not _is_of_classes(model, output)]
    if not usable:
        raise _no_embedding(path, model, candidates or outputs)
    for names in PREFERRED:
        for output in usable:
            if output.name in names:
                return output.name
    return min(usable, key=lambda output: len(output.shape) or 9).name


def prune(model: onnx.ModelProto, output: str) -> None:
    """Leave only what computes one tensor of a graph, which becomes its only output."""
    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(used_by(node))
    if len(kept) < len(model.graph.node):
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
        del model.graph.node[:]
        model.graph.node.extend(kept)
    for field in (model.graph.initializer, model.graph.input):
        for place in reversed(range(len(field))):
            if field[place].name not in needed:
                del field[place]
    declared = {value.name: value for value in model.graph.output}
    value = declared.get(output) or onnx.helper.make_empty_tensor_value_info(output)
    copied = onnx.ValueInfoProto.FromString(value.SerializeToString())
    del model.graph.output[:]
    model.graph.output.append(copied)
    del model.graph.value_info[:]


def rename(graph: onnx.GraphProto, names: Iterable[str]) -> dict[str, str]:
    """Rename tensors of a graph and its subgraphs, so that others can have their names; return the new names."""
    taken = {name for node in nodes_within(graph) for name in (*node.input, *node.output)}
    taken |= {entry.name for field in (graph.input, graph.output, graph.initializer) for entry in field}
    renamed = {name: f"original/{name}" for name in names if name in taken}
    if renamed:
        _rename(graph, renamed)
    return renamed


def nodes_within(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for subgraph in _subgraphs(node):
            yield from nodes_within(subgraph)


def inner_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """The tensors of a graph that are not among its own weights: constants, and the weights of subgraphs."""
    for node in nodes_within(graph):
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors)
        for subgraph in _subgraphs(node):
            yield from subgraph.initializer


def used_by(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node uses, in its subgraphs, too."""
    used = {name for name in node.input if name}
    for subgraph in _subgraphs(node):
        for inner in nodes_within(subgraph):
            used.update(name for name in inner.input if name)
        used.update(output.name for output in subgraph.output)
    return used


def produced(model: onnx.ModelProto) -> set[str]:
    """The tensors that the nodes of a graph compute."""
    return {name for node in model.graph.node for name in node.output if name}


def _rename(graph: onnx.GraphProto, renamed: dict[str, str]) -> None:
    for field in (graph.input, graph.output, graph.initializer, graph.value_info):
        for entry in field:
            entry.name = renamed.get(entry.name, entry.name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        for subgraph in _subgraphs(node):
            _rename(subgraph, renamed)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    type = value.type.tensor_type
    return Tensor(value.name, type.elem_type, tuple(dim.dim_value or None for dim in type.shape.dim))


def _images(inputs: Sequence[Tensor]) -> list[Tensor]:
    return [tensor for tensor in inputs if tensor.type in (*FLOATS, TensorProto.UINT8) and len(tensor.shape) == 4]


def _is_of_classes(model: onnx.ModelProto, output: Tensor) -> bool:
    """Whether an output is likely to be the scores of classes."""
    makers = {name: node for node in model.graph.node for name in node.output}
    activated = output.name in makers and makers[output.name].op_type in ACTIVATIONS
    counted = len(output.shape) == 2 and output.shape[1] in CLASSIFIERS
    return bool(activated or counted or OF_CLASSES.search(output.name))


def _no_embedding(path: Path, model: onnx.ModelProto, outputs: Sequence[Tensor]) -> BadSource:
    """The error of a classifier, with the tensors from which it computes its classes."""
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name for tensor in model.graph.initializer} | {
        name for name, node in makers.items() if node.op_type == "Constant"
    }
    found: list[str] = []
    name: str | None = next((output.name for output in outputs), None)
    while name in makers and len(found) < 3:
        node: Any = makers[name]
        data = next((str(each) for each in node.input if each and each not in weights), None)
        if data is None:
            break
        if node.op_type in ("Gemm", "MatMul", "Conv", "Flatten", "GlobalAveragePool", "ReduceMean") and data in makers:
            found.append(data)
        name = data
    listed = ", ".join(f"{output.name} [{_dimensions(output.shape)}]" for output in outputs)
    remedy = (
        f"Name the tensor that is one with --output; {' or '.join(found)} could be."
        if found
        else ("Export the network without its classifier.")
    )
    return BadSource(f"{path} has no embedding: its output seems to be scores of classes, {listed}.", remedy)


def _dimensions(shape: Shape) -> str:
    return ", ".join(str(length or "n") for length in shape)
