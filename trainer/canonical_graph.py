"""The canonical form of an ONNX graph: the same network is the same file whenever it is exported.

The order of nodes, their names, and which of several equal constants the converter keeps depend on what the process
converted before.
"""

from collections.abc import Iterator

import onnx


def make_canonical(graph: onnx.GraphProto) -> None:
    """Order the nodes of a graph, merge equal constants and number all names but those of its inputs and outputs."""
    _merge_constants(graph, {}, {})
    _sort(graph)
    _rename(graph, {entry.name: entry.name for entry in (*graph.input, *graph.output)})


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    return (attribute.g for attribute in node.attribute if attribute.HasField("g"))


def _merge_constants(graph: onnx.GraphProto, kept: dict[bytes, str], merged: dict[str, str]) -> None:
    """Keep one of several equal constants; `kept` has those of outer graphs by content, `merged` their replacements."""
    kept, merged, constants = dict(kept), dict(merged), list(graph.initializer)
    del graph.initializer[:]
    for tensor in constants:
        name = tensor.name
        tensor.name = ""
        merged[name] = kept.setdefault(tensor.SerializeToString(), name)
        if merged[name] == name:
            tensor.name = name
            graph.initializer.append(tensor)
    for node in graph.node:
        node.input[:] = [merged.get(name, name) for name in node.input]
        for subgraph in _subgraphs(node):
            _merge_constants(subgraph, kept, merged)


def _sort(graph: onnx.GraphProto) -> None:
    """Put each node directly after those that it needs, in the order of its inputs, beginning with the outputs."""
    for node in graph.node:
        for subgraph in _subgraphs(node):
            _sort(subgraph)
    makers = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}
    pending = [makers[output.name] for output in reversed(graph.output) if output.name in makers]
    while pending:
        node = pending[-1]
        needed = (makers[name] for name in _names_read(node) if name in makers)
        missing = next((maker for maker in needed if maker.output[0] not in ordered), None)
        if missing is not None:
            pending.append(missing)
        else:
            ordered[pending.pop().output[0]] = node
    del graph.node[:]
    graph.node.extend(ordered.values())


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the inputs of a node and of the nodes of its subgraphs."""
    yield from node.input
    for subgraph in _subgraphs(node):
        for inner in subgraph.node:
            yield from _names_read(inner)
        yield from (output.name for output in subgraph.output)


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    def renamed(name: str) -> str:
        return names.setdefault(name, f"tensor_{len(names)}") if name else name

    graph.name, graph.doc_string = "embedder", ""
    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        for subgraph in _subgraphs(node):
            _rename(subgraph, names)
        node.output[:] = map(renamed, node.output)
        node.name = f"{node.op_type}_{node.output[0]}"
    for named in (*graph.initializer, *graph.value_info, *graph.output):
        named.name = renamed(named.name)
    for value in (*graph.input, *graph.value_info, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = renamed(dimension.dim_param)
    graph.initializer.sort(key=lambda tensor: tensor.name)
    graph.value_info.sort(key=lambda value: value.name)
