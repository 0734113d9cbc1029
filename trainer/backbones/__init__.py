"""The backbones by name."""

from retrieval.errors import LookalikeError
from trainer.backbones.base import Backbone
from trainer.backbones.efficientnet_lite import EFFICIENTNET_LITE
from trainer.backbones.mobilenet_v2 import MOBILENET_V2
from trainer.backbones.small_cnn import SMALL_CNN

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in (*EFFICIENTNET_LITE, MOBILENET_V2, SMALL_CNN)}


def backbone_named(name: str) -> Backbone:
    """The backbone of that name; raises `LookalikeError` where there is none."""
    if name not in BACKBONES:
        raise LookalikeError(f"There is no backbone {name!r}.", f"Choose one of {', '.join(BACKBONES)}.")
    return BACKBONES[name]
