"""The recipe that trains nothing: a pretrained backbone whose embedding has the part look alone."""

from dataclasses import dataclass, field

from trainer.recipes.components import Count, Preparation
from trainer.recipes.recipe import Fault


@dataclass(frozen=True)
class PretrainedRecipe:
    """How a pretrained network becomes a model without labels; `dimension` and `preparation` are settings.

    Attributes:
        dimension: length of the embedding; fewer if the feature maps have fewer channels.
    """

    name: str = "pretrained"
    description: str = "For photos without labels: the part look of the pretrained backbone, in seconds, not trained"
    faults: tuple[Fault, ...] = ()
    dimension: Count = 160
    preparation: Preparation = field(default_factory=Preparation)


PRETRAINED = PretrainedRecipe()
