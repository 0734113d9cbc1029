"""MobileNetV2 as `tf.keras.applications` defines it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.download import reachable

if TYPE_CHECKING:
    import tensorflow as tf

WEIGHTS_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
WEIGHTS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/{WEIGHTS_FILE}"


class MobileNetV2(Backbone):
    """The weights `auto` are Keras's own, trained on ImageNet; Keras downloads them once."""

    def build(self, weights: str = AUTO) -> "tf.keras.Model":
        """See `Backbone.build`; a weights file is what Keras saves of the network without its top (`.h5`)."""
        from tensorflow.keras import applications, layers  # noqa: PLC0415 - takes seconds

        pixels = layers.Input((None, None, 3), name="pixels")
        scaled = layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)
        network = applications.MobileNetV2(include_top=False, weights=None, input_tensor=scaled, pooling="avg")
        if weights != NONE:
            _load(network, _downloaded_weights() if weights == AUTO else Path(weights))
        return network


MOBILENET_V2 = MobileNetV2(
    name="mobilenet_v2",
    description="MobileNetV2, 224 px, ImageNet weights downloaded by Keras",
    resize=ResizeRule(size=224, shorter_side=224),
    train_size=160,
    upper_part="block_6_expand",
)


def _load(network: "tf.keras.Model", path: Path) -> None:
    try:
        network.load_weights(path)
    except FileNotFoundError:
        raise LookalikeError(f"The weights file {path} does not exist.", "Check its name.") from None
    except (OSError, ValueError, KeyError) as error:
        raise LookalikeError(
            f"{path} does not hold the weights of mobilenet_v2 without its top ({error}).",
            f"Name the file that Keras calls {WEIGHTS_FILE}.",
        ) from None


def _downloaded_weights() -> Path:
    from tensorflow.keras.utils import get_file  # noqa: PLC0415 - takes seconds

    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
    if (folder / WEIGHTS_FILE).is_file():
        return folder / WEIGHTS_FILE
    remedy = f"Bring the file {WEIGHTS_FILE} from elsewhere and put it into {folder}, or name it with --weights FILE."
    if not reachable(WEIGHTS_URL):
        raise LookalikeError("The ImageNet weights of mobilenet_v2 can't be downloaded from here.", remedy)
    try:
        return Path(get_file(WEIGHTS_FILE, WEIGHTS_URL, cache_subdir="models", cache_dir=folder.parent))
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise LookalikeError(f"The weights of mobilenet_v2 did not arrive ({error}).", remedy) from None
