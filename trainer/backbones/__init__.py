"""The backbones by name."""

from pathlib import Path

from retrieval.errors import LookalikeError
from trainer.backbones.base import Backbone
from trainer.backbones.efficientnet_lite import EFFICIENTNET_LITE
from trainer.backbones.hub_module import BIT_M_R50X1, hub_module
from trainer.backbones.imported import imported_network
from trainer.backbones.keras_application import MOBILENET_V2, RESNET50, VGG16, keras_application, keras_functions
from trainer.backbones.small_cnn import SMALL_CNN

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone for backbone in (*EFFICIENTNET_LITE, MOBILENET_V2, RESNET50, VGG16, BIT_M_R50X1, SMALL_CNN)
}

KERAS, HUB, BUNDLE = "keras:", "hub:", "bundle:"
FAMILIES = {
    f"{KERAS}NAME": "Any network of tf.keras.applications, such as DenseNet121; weights as for mobilenet_v2",
    f"{HUB}HANDLE": "Any image feature vector of TensorFlow Hub, or a folder with its SavedModel",
    f"{BUNDLE}DIR": "The network of a bundle that `lookalike import` made; only a head is trained",
}


def backbone_named(name: str) -> Backbone:
    """Return the backbone of that name, one of `BACKBONES` or `FAMILIES`; raises `LookalikeError` if there is none.

    Names of Keras applications are case-insensitive and may omit `keras:` and underscores.
    """
    if name.startswith(HUB):
        return hub_module(name.removeprefix(HUB))
    if name.startswith(BUNDLE):
        return imported_network(Path(name.removeprefix(BUNDLE)))
    wanted = _key(name.removeprefix(KERAS))
    for known in BACKBONES.values():
        if _key(known.name) == wanted:
            return known
    for function in keras_functions():
        if _key(function) == wanted:
            return keras_application(function)
    raise LookalikeError(f"There is no backbone {name!r}.", f"Choose one of {', '.join((*BACKBONES, *FAMILIES))}.")


def _key(name: str) -> str:
    return name.replace("_", "").lower()
