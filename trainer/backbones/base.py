"""What every backbone is: a network that turns pixels into features, and what it expects of its input."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.images import ResizeRule
from trainer.recipes import Augmentation

if TYPE_CHECKING:
    import tensorflow as tf

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """A network without its classifier: what is known of it before it is built; `build` makes the Keras model.

    Attributes:
        name: what the command line calls it.
        description: one line for `lookalike backbones`.
        resize: how a photo becomes its input.
        train_size: side in pixels of the random crops that it is trained on. For a network with global average pooling
            these can be smaller than its input: a random crop shows things larger than a central crop does, and smaller
            crops undo that and cost less (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        augmentation: how training photos may vary and still be what they are, unless a recipe says otherwise.
        minimum_size: the smallest input that it accepts, in pixels.
        has_weights: whether somebody has trained it, so that `auto` means more than random weights.
        upper_part: name of the layer where its upper part begins, which fine-tuning adapts; None: all of it.
    """

    name: str
    description: str
    resize: ResizeRule
    train_size: int
    augmentation: Augmentation = field(default_factory=Augmentation)
    minimum_size: int = 32
    has_weights: bool = True
    upper_part: str | None = None

    @abstractmethod
    def build(self, weights: str = AUTO) -> "tf.keras.Model":
        """The network with its weights.

        Args:
            weights: `auto` (what the backbone's authors trained, if that can be had), `none` (random), or a file.

        Returns:
            A model from pixels float32 [batch, height, width, 3] RGB in 0…255, of any height and width, to features
            float32 [batch, f]. Its own normalisation of pixels is inside.

        Raises:
            LookalikeError: the weights can't be had or belong to another network.
        """
