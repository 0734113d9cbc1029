"""The interface of backbones: networks from pixels to features."""

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
    """A network without its classifier, described before it is built; `build` makes the Keras model.

    Attributes:
        name: its name on the command line and in file names.
        description: one line for `lookalike backbones`: input size and source of the weights.
        resize: how a photo is resized to the network's input.
        train_size: side of the augmented views in training, in pixels. With global pooling it can be smaller than the
            input: objects appear larger in random crops than in central crops, which smaller views compensate at lower
            cost (Touvron et al., "Fixing the train-test resolution discrepancy", 2019).
        augmentation: augmentation of training photos, if the recipe has none.
        minimum_size: smallest side of an accepted input, in pixels.
        fixed_size: whether the only accepted size is that of `resize`.
        has_weights: whether pretrained weights exist; otherwise the weights `auto` are random.
        fine_tune_from: name of the first trainable layer in fine-tuning, below which all layers are frozen; None: all
            layers are trainable.
        look_layers: names of the layers whose feature maps the part look takes; empty: the last feature map.
        unit_pixels: whether pixels are divided by 255 in place of the network's own normalization.
        trainable: whether its layers can be trained; if not, its features are the part look of the embedding.

    Raises:
        LookalikeError: the network does not accept the size of `resize` or `train_size`.
    """

    name: str
    description: str
    resize: ResizeRule
    train_size: int
    augmentation: RandomViews = field(default_factory=RandomViews)
    minimum_size: int = 32
    fixed_size: bool = False
    has_weights: bool = True
    fine_tune_from: str | None = None
    look_layers: tuple[str, ...] = ()
    unit_pixels: bool = False
    trainable: bool = True

    def __post_init__(self) -> None:
        size, smallest = self.resize.size, min(self.resize.size, self.train_size)
        if smallest < self.minimum_size:
            raise LookalikeError(
                f"{self.name} accepts no photos of {smallest} px; the minimum is {self.minimum_size} px.",
                "Choose a larger size, or another backbone.",
            )
        if self.fixed_size and self.train_size != size:
            raise LookalikeError(
                f"{self.name} accepts only photos of {size} px and can't be trained on crops of {self.train_size} px.",
                "Set both sizes to the same value.",
            )

    def build(self, weights: str = AUTO) -> "tf.keras.Model":
        """Build the Keras model.

        Args:
            weights: `auto` (pretrained weights if they exist, otherwise random ones), `none` (random weights), or the
                path of a weights file.

        Returns:
            A model from RGB pixels, float32 [batch, height, width, 3] in 0…255, to features, float32 [batch, f].
            Height and width are variable unless `fixed_size`. The normalization of pixels is part of the model.

        Raises:
            LookalikeError: the weights are not available or belong to another network.
        """
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        side = self.resize.size if self.fixed_size else None
        pixels = layers.Input((side, side, 3), name="pixels")
        unit = layers.Rescaling(1 / 255, name="unit_pixels")
        return self._network(pixels, unit(pixels) if self.unit_pixels else self._normalized(pixels), weights)

    @abstractmethod
    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        """Normalize pixels in 0…255 as in the network's pretraining."""

    @abstractmethod
    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        """Return the model from `pixels` to features, whose first layer takes `normalized`; see `build`."""
