"""A small network for small images, trained from scratch."""

from typing import TYPE_CHECKING

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone

if TYPE_CHECKING:
    import tensorflow as tf

FILTERS = (32, 64, 128)


class SmallCNN(Backbone):
    """Pairs of 3 × 3 convolutions, each pair followed by pooling: for digits, icons, spectrograms."""

    name = "small_cnn"
    description = "A small network trained from scratch, 32 px, for small images such as the digits"
    resize = ResizeRule(size=32, shorter_side=32)
    train_size = 32
    minimum_size = 8
    has_weights = False

    def build(self, weights: str = AUTO) -> "tf.keras.Model":
        """See `Backbone.build`; it has no trained weights, so that `auto` means random ones."""
        from tensorflow.keras import Model, layers  # noqa: PLC0415 - takes seconds

        if weights not in (AUTO, NONE):
            raise LookalikeError(f"{self.name} is trained from scratch.", "Leave --weights away.")
        pixels = layers.Input((None, None, 3), name="pixels")
        x = layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)
        for stage, filters in enumerate(FILTERS):
            for half in "ab":
                x = layers.Conv2D(
                    filters, 3, padding="same", kernel_initializer="he_normal", name=f"conv{stage}{half}"
                )(x)
                x = layers.LayerNormalization(name=f"norm{stage}{half}")(x)
                x = layers.ReLU(name=f"relu{stage}{half}")(x)
            if stage < len(FILTERS) - 1:
                x = layers.MaxPooling2D(name=f"pool{stage}")(x)
        return Model(pixels, layers.GlobalAveragePooling2D(name="features")(x), name=self.name)
