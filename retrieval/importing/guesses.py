"""What neither the user nor a file says about a network, guessed from its graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from retrieval.images import Interpolation
from retrieval.importing.graph import Tensor, nodes_within
from retrieval.importing.preprocessing import IMAGENET, Colours, Layout

DEFAULT_SIZE = 224
# Operators after which the pixels are the same in another order; Keras reverses the colours of VGG16 and ResNet.
SAME_VALUES = ("Cast", "Identity", "Transpose", "Reshape", "Slice", "Gather", "ReverseSequence")


@dataclass(frozen=True, slots=True)
class Values:
    """How pixels become the values that a network takes; as in `Preprocessing`."""

    mean: Colours
    std: Colours
    rescale: float = 1 / 255


def guess_layout(tensor: Tensor) -> Layout:
    """The order of the axes, by the position of the three colours."""
    return "nhwc" if tensor.shape[3] == 3 and tensor.shape[1] != 3 else "nchw"


def guess_size(tensor: Tensor, layout: Layout) -> int:
    """The side of the input, by its declared shape."""
    sides = tensor.shape[2:] if layout == "nchw" else tensor.shape[1:3]
    return next((side for side in sides if side), DEFAULT_SIZE)


def guess_interpolation(model: onnx.ModelProto) -> Interpolation:
    """Vision transformers are trained with bicubic interpolation, convolutional networks with bilinear."""
    return "bicubic" if any(node.op_type == "Softmax" for node in nodes_within(model.graph)) else "bilinear"


def guess_values(model: onnx.ModelProto, tensor: Tensor, layout: Layout) -> Values:
    """The mean, the standard deviation and the factor of the values that the network takes.

    A graph that starts with a subtraction or scaling normalizes pixels from 0 to 255 or from 0 to 1 itself. Others of
    PyTorch take the values of ImageNet, and those of TensorFlow, which have the colours last, values from −1 to 1.
    """
    constants = [abs(constant) for constant in _first_constants(model, tensor)]
    if constants or tensor.type == TensorProto.UINT8:
        takes_255 = any((value > 1.5).any() or (value < 0.1).all() for value in constants)
        return Values((0, 0, 0), (1, 1, 1), 1 if takes_255 else 1 / 255)
    if layout == "nhwc":
        return Values((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Values(*IMAGENET)


def _first_constants(model: onnx.ModelProto, tensor: Tensor) -> Iterator[npt.NDArray[Any]]:
    """The constants by which the input is changed, pixel by pixel, before anything else."""
    constants = {value.name: value for value in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    name = tensor.name
    for node in model.graph.node:
        if name not in node.input:
            continue
        if node.op_type in SAME_VALUES:
            name = node.output[0]
        elif node.op_type in ("Sub", "Div", "Mul", "Add"):
            other = next((each for each in node.input if each != name), "")
            if other not in constants or np.prod(constants[other].dims) > 3:
                return
            yield numpy_helper.to_array(constants[other]).astype(np.float64)
            name = node.output[0]
        elif node.op_type != "Shape":
            return
