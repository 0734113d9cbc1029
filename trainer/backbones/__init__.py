"""The backbones by name."""

from retrieval.errors import LookalikeError
from trainer.backbones.base import Backbone
from trainer.backbones.efficientnet_lite0 import EfficientNetLite0
from trainer.backbones.mobilenet_v2 import MobileNetV2
from trainer.backbones.small_cnn import SmallCNN

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone for backbone in (EfficientNetLite0(), MobileNetV2(), SmallCNN())
}


def backbone_named(name: str) -> Backbone:
    """The backbone of that name; raises `LookalikeError` where there is none."""
    if name not in BACKBONES:
        raise LookalikeError(f"There is no backbone {name!r}.", f"Choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]
