"""The backbones by name."""

from retrieval.errors import LookalikeError
from trainer.backbones.base import Backbone
from trainer.backbones.efficientnet_lite import EFFICIENTNET_LITE
from trainer.backbones.keras_application import MOBILENET_V2, RESNET50, VGG16, keras_application, keras_functions
from trainer.backbones.small_cnn import SMALL_CNN

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone for backbone in (*EFFICIENTNET_LITE, MOBILENET_V2, RESNET50, VGG16, SMALL_CNN)
}

KERAS_PREFIX = "keras:"


def backbone_named(name: str) -> Backbone:
    """The backbone of that name: one of `BACKBONES` or any network of `tf.keras.applications`, however it is spelt.

    Raises:
        LookalikeError: there is none.
    """
    wanted = _plain(name.removeprefix(KERAS_PREFIX))
    for known in BACKBONES.values():
        if _plain(known.name) == wanted:
            return known
    for function in keras_functions():
        if _plain(function) == wanted:
            return keras_application(function)
    raise LookalikeError(
        f"There is no backbone {name!r}.", f"Choose one of {', '.join(BACKBONES)}, or a network of Keras."
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
