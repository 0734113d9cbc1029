"""The networks of `tf.keras.applications`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import isfunction
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import LookalikeError, first_line
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.download import fail_fast_downloads
from trainer.extra import import_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

# By function, in pixels: input sizes other than 224, minimum input sizes other than 32.
DEFAULT_SIZES = {
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
    "InceptionResNetV2": 299,
    "InceptionV3": 299,
    "NASNetLarge": 331,
    "Xception": 299,
}
MINIMUM_SIZES = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}
BUILT_FOR_ONE_SIZE = {"NASNetLarge", "NASNetMobile"}
KERAS_CACHE = Path("~/.keras/models")


@dataclass(frozen=True, kw_only=True)
class KerasApplication(Backbone):
    """A network of `tf.keras.applications`, with the preprocessing of its module.

    The weights `auto` are ImageNet weights, which Keras downloads once. A weights file is a `.h5` file that Keras saved
    of the network without its top.
    """

    function: str  # name of the function in `tf.keras.applications`

    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        preprocess = sys.modules[self._make().__module__].preprocess_input
        return layers.Lambda(preprocess, name="preprocessing")(pixels)

    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        if weights == AUTO:
            return self._downloaded(normalized)
        network = self._make()(include_top=False, weights=None, input_tensor=normalized, pooling="avg")
        if weights != NONE:
            _load(network, Path(weights), self.name)
        return network

    def _downloaded(self, normalized: "tf.Tensor") -> "tf.keras.Model":
        try:
            with fail_fast_downloads():
                return self._make()(include_top=False, weights="imagenet", input_tensor=normalized, pooling="avg")
        except Exception as error:  # Keras raises a bare Exception if a download fails
            raise LookalikeError(
                f"The ImageNet weights of {self.name} can't be downloaded ({error}).",
                f"Download the file on another computer and name it with --weights FILE, or copy it to {KERAS_CACHE}.",
            ) from None

    def _make(self) -> "Callable[..., tf.keras.Model]":
        from tensorflow.keras import applications  # noqa: PLC0415 - takes seconds

        function: Callable[..., tf.keras.Model] = getattr(applications, self.function)
        return function


def keras_application(function: str) -> KerasApplication:
    """Return the backbone that a function of `tf.keras.applications` builds."""
    size = DEFAULT_SIZES.get(function, 224)
    return KerasApplication(
        name=function.lower(),
        description=f"Keras {function}, {size} px, ImageNet weights downloaded by Keras",
        resize=ResizeRule(size=size, shorter_side=size),
        train_size=size if function in BUILT_FOR_ONE_SIZE else size * 5 // 7,
        minimum_size=MINIMUM_SIZES.get(function, 32),
        fixed_size=function in BUILT_FOR_ONE_SIZE,
        function=function,
    )


VGG16 = replace(keras_application("VGG16"), fine_tune_from="block4_conv1")
RESNET50 = replace(keras_application("ResNet50"), fine_tune_from="conv4_block1_1_conv")
MOBILENET_V2 = replace(
    keras_application("MobileNetV2"),
    name="mobilenet_v2",
    fine_tune_from="block_6_expand",
    look_layers=("block_13_project_BN", "block_15_add", "block_16_project_BN", "out_relu"),
)


def keras_functions() -> list[str]:
    """Return the function names of `tf.keras.applications`; raise `LookalikeError` if TensorFlow is not installed."""
    import_tensorflow()
    from tensorflow.keras import applications  # noqa: PLC0415 - takes seconds

    return [name for name, value in vars(applications).items() if isfunction(value)]


def _load(network: "tf.keras.Model", path: Path, name: str) -> None:
    from tensorflow.errors import OpError  # noqa: PLC0415 - takes seconds

    if not path.is_file():
        raise LookalikeError(f"The weights file {path} does not exist.", "Check its name.")
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError, OpError) as error:
        raise LookalikeError(
            f"{path} does not contain the weights of {name} without its top ({first_line(error)}).",
            "Name a .h5 file that Keras saved of this network with include_top=False.",
        ) from None
