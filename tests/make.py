"""Small inputs for the tests: photos of coloured shapes, and a bundle whose network is a few ONNX nodes."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from retrieval.bundle import Bundle, write_bundle
from retrieval.bundle_format import Parity, Part, PartName, Precision, TrainingData
from retrieval.images import ResizeRule

COLOURS = {"red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 60, 200)}


def photo(label: str = "red", seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Draw an ellipse in its label's colour on a noisy background; equal arguments give equal pictures."""
    rng = np.random.default_rng([seed, *label.encode()])
    ground = rng.normal(128, 25, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    x, y = rng.uniform(0.1, 0.4) * size[0], rng.uniform(0.1, 0.4) * size[1]
    ImageDraw.Draw(image).ellipse((x, y, x + 0.5 * size[0], y + 0.5 * size[1]), fill=COLOURS[label])
    return image


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    """Encode an image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def library(folder: Path, per_label: int = 8, labels: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """Write a folder of JPEGs per label."""
    for label in labels:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for seed in range(per_label):
            (folder / label / f"{seed}.jpg").write_bytes(encoded(photo(label, seed)))
    return folder


def bundle(
    folder: Path,
    dimension: int = 16,
    size: int = 32,
    seed: int = 0,
    regions: bool = True,
    metrics: dict[str, Any] | None = None,
    precision: Precision = "float32",
    look: int = 0,
    part: PartName = "kind",
) -> Bundle:
    """A bundle that embeds a photo as a random projection of its 4 × 4 thumbnail, and says what each of the 16 adds.

    It computes in float32 even if `precision` is int8. `look` is the length of the part look, whose weight is 0.5; with
    0, the embedding has one part, `part`. A bundle of two parts has no output for regions.
    """
    network = folder.with_name(f"{folder.name}.onnx")
    network.parent.mkdir(parents=True, exist_ok=True)
    network.write_bytes(_network(dimension, size, seed, regions and not look, look))
    parts = [Part(name=part, length=dimension, weight=1)]
    if look:
        parts = [Part(name="kind", length=dimension - look, weight=0.5), Part(name="look", length=look, weight=0.5)]
    written = write_bundle(
        folder,
        network,
        backbone="thumbnail",
        recipe="none",
        dimension=dimension,
        parts=parts,
        resize=ResizeRule(size=size, shorter_side=size),
        classes=list(COLOURS),
        training_data=TrainingData(name="tests", digest=hashlib.sha256(b"").hexdigest(), counts={}),
        seed=seed,
        metrics=metrics or {},
        precision=precision,
        parity=Parity(photos=0, min_cosine=1.0, max_difference=0.0),
        versions={"onnx": onnx.__version__},
        created_at="2026-01-01T00:00:00+00:00",
    )
    network.unlink()
    return written


def _unit(vectors: str, scaled: str) -> onnx.NodeProto:
    return helper.make_node("LpNormalization", [vectors], [scaled], axis=1, p=2)


def _two_parts() -> list[onnx.NodeProto]:
    """Both parts of a projection with unit length times the root of a half."""
    return [
        helper.make_node("Split", ["projected", "lengths"], ["kind", "look"], axis=1),
        _unit("kind", "unit_kind"),
        _unit("look", "unit_look"),
        helper.make_node("Concat", ["unit_kind", "unit_look"], ["both"], axis=1),
        helper.make_node("Mul", ["both", "root"], ["embeddings"]),
    ]


def _network(dimension: int, size: int, seed: int, regions: bool, look: int) -> bytes:
    """uint8 [batch, size, size, 3] → 4 × 4 means, centred → random projection → unit length."""
    cells = 4
    projection = np.random.default_rng(seed).normal(size=(cells * cells * 3, dimension)).astype(np.float32)
    of_cells = projection.reshape(3, cells, cells, dimension)
    constants = {"grey": np.float32(128), "projection": projection, "flat": np.array([0, -1])}
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "grey"], ["centred"]),
        helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "AveragePool", ["planes"], ["means"], kernel_shape=[size // cells] * 2, strides=[size // cells] * 2
        ),
        helper.make_node("Reshape", ["means", "flat"], ["features"]),
        helper.make_node("MatMul", ["features", "projection"], ["projected"]),
        *(_two_parts() if look else [_unit("projected", "embeddings")]),
    ]
    if look:
        constants |= {"lengths": np.array([dimension - look, look]), "root": np.float32(np.sqrt(0.5))}
    inputs = [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", size, size, 3])]
    outputs = [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", dimension])]
    if regions:
        constants |= {"of_cells": of_cells, "each": np.array([1, 2]), "explain": np.array(False)}
        nodes.append(_regions(cells, dimension))
        outputs.append(helper.make_tensor_value_info("regions", TensorProto.FLOAT, ["batch", cells, cells, dimension]))
        inputs.append(helper.make_tensor_value_info("explain", TensorProto.BOOL, []))
    graph = helper.make_graph(
        nodes,
        "thumbnail",
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def _regions(cells: int, dimension: int) -> onnx.NodeProto:
    """What each cell adds to the embedding, if `explain`."""
    shape = ["batch", cells, cells, dimension]
    nodes = [
        helper.make_node("Einsum", ["means", "of_cells"], ["added"], equation="bcyx,cyxd->byxd"),
        helper.make_node("ReduceL2", ["projected"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Unsqueeze", ["length", "each"], ["lengths"]),
        helper.make_node("Div", ["added", "lengths"], ["explained"]),
    ]
    none = numpy_helper.from_array(np.empty((0, cells, cells, dimension), np.float32))
    explained = helper.make_tensor_value_info("explained", TensorProto.FLOAT, shape)
    unexplained = helper.make_tensor_value_info("unexplained", TensorProto.FLOAT, shape)
    return helper.make_node(
        "If",
        ["explain"],
        ["regions"],
        then_branch=helper.make_graph(nodes, "then", [], [explained]),
        else_branch=helper.make_graph(
            [helper.make_node("Constant", [], ["unexplained"], value=none)], "else", [], [unexplained]
        ),
    )
