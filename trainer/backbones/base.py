"""What every backbone is: a network that turns pixels into features, and what it expects of its input."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.recipes import RandomViews

if TYPE_CHECKING:
    import tensorflow as tf

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """A network without its classifier: what is known of it before it is built; `build` makes the Keras model.

    Attributes:
        name: what the command line calls it; also part of file names.
        description: one line for `lookalike backbones`: its size, and where its weights come from.
        resize: how a photo becomes its input.
        train_size: side in pixels of the random crops that it is trained on. For a network with global average pooling
            these can be smaller than its input: a random crop shows things larger than a central crop does, and smaller
            crops undo that and cost less (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        augmentation: how training photos may vary and still be what they are, unless a recipe says otherwise.
        minimum_size: the smallest input that it accepts, in pixels.
        fixed_size: whether it accepts no size but that of `resize`.
        has_weights: whether somebody has trained it, so that `auto` means more than random weights.
        upper_part: name of the layer where its upper part begins, which fine-tuning adapts; None: all of it.
        unit_pixels: whether pixels are just divided by 255, whatever it was trained on, as the 2020 notebooks did.

    Raises:
        LookalikeError: it does not accept photos of the size in `resize` or of `train_size`.
    """

    name: str
    description: str
    resize: ResizeRule
    train_size: int
    augmentation: RandomViews = field(default_factory=RandomViews)
    minimum_size: int = 32
    fixed_size: bool = False
    has_weights: bool = True
    upper_part: str | None = None
    unit_pixels: bool = False

    def __post_init__(self) -> None:
        size, smallest = self.resize.size, min(self.resize.size, self.train_size)
        if smallest < self.minimum_size:
            raise LookalikeError(
                f"{self.name} accepts no photos of {smallest} px; the least is {self.minimum_size} px.",
                "Choose a larger size, or another backbone.",
            )
        if self.fixed_size and self.train_size != size:
            raise LookalikeError(
                f"{self.name} accepts photos of {size} px alone; it can't be trained on crops of {self.train_size} px.",
                "Choose one size for both.",
            )

    def build(self, weights: str = AUTO) -> "tf.keras.Model":
        """The network with its weights.

        Args:
            weights: `auto` (what the backbone's authors trained, if that can be had), `none` (random), or a file.

        Returns:
            A model from pixels float32 [batch, height, width, 3] RGB in 0…255, of any height and width unless
            its size is fixed, to features float32 [batch, f]. Its own normalisation of pixels is inside.

        Raises:
            LookalikeError: the weights can't be had or belong to another network.
        """
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        side = self.resize.size if self.fixed_size else None
        pixels = layers.Input((side, side, 3), name="pixels")
        unit = layers.Rescaling(1 / 255, name="unit_pixels")
        return self._network(pixels, unit(pixels) if self.unit_pixels else self._normalised(pixels), weights)

    @abstractmethod
    def _normalised(self, pixels: "tf.Tensor") -> "tf.Tensor":
        """Pixels in 0…255 as the network was trained on them."""

    @abstractmethod
    def _network(self, pixels: "tf.Tensor", normalised: "tf.Tensor", weights: str) -> "tf.keras.Model":
        """The model from `pixels` to features, whose first layer takes `normalised`; as for `build`."""
