"""The network of an imported bundle as a backbone; a head is trained on its embeddings."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from retrieval.bundle import Bundle, load_bundle
from retrieval.errors import LookalikeError
from retrieval.parts import LOOK
from trainer.backbones.base import AUTO, Backbone

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, kw_only=True)
class ImportedNetwork(Backbone):
    """A network that ONNX Runtime computes and that is not trained: its features are the embeddings of its bundle."""

    bundle: Bundle

    @property
    def parameters(self) -> int:
        """Number of its weights."""
        graph = onnx.load(self.bundle.network, load_external_data=False).graph
        return sum(math.prod(tensor.dims) for tensor in graph.initializer)

    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        return pixels  # the graph normalizes them

    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        from tensorflow.keras import Model  # noqa: PLC0415 - takes seconds

        from trainer.onnx_layer import OnnxLayer  # noqa: PLC0415 - imports TensorFlow

        check_weights(weights)
        return Model(pixels, OnnxLayer(self.bundle.network, self.bundle.dimension)(normalized), name=self.name)


def check_weights(weights: str) -> None:
    """Raise `LookalikeError` if weights are named for the network of a bundle."""
    if weights != AUTO:
        raise LookalikeError("The weights of a bundle can't be replaced.", "Omit --weights.")


def imported_network(folder: Path) -> ImportedNetwork:
    """Return the backbone of a bundle; raises `LookalikeError` if it is none, or has a trained head."""
    bundle = load_bundle(folder)
    manifest, size = bundle.manifest, bundle.resize.size
    if [part.name for part in manifest.parts] != [LOOK]:
        raise LookalikeError(
            f"{folder} has a trained head, the part kind.",
            "Name the bundle of the network alone, which `lookalike import` or the recipe pretrained made.",
        )
    return ImportedNetwork(
        name=manifest.backbone,
        description=f"The network of the bundle {folder}, {size} px",
        resize=bundle.resize,
        train_size=size,
        minimum_size=1,
        fixed_size=True,
        trainable=False,
        bundle=bundle,
    )
