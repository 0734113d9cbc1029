"""A small network for small images, trained from scratch."""

from typing import TYPE_CHECKING

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.recipes import RandomViews

if TYPE_CHECKING:
    import tensorflow as tf

FILTERS = (32, 64, 128)


class SmallCNN(Backbone):
    """Three pairs of 3 × 3 convolutions with max pooling: for digits, icons, spectrograms."""

    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        return layers.Rescaling(1 / 127.5, -1, name="rescaling")(pixels)

    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        from tensorflow.keras import Model, layers  # noqa: PLC0415 - takes seconds

        if weights not in (AUTO, NONE):
            raise LookalikeError(f"{self.name} has no pretrained weights.", "Omit --weights.")
        x = normalized
        for stage, filters in enumerate(FILTERS):
            if stage > 0:
                x = layers.MaxPooling2D(name=f"pool{stage}")(x)
            for half in ("a", "b"):
                convolution = layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_initializer="he_normal",
                    name=f"conv{stage}{half}",
                )
                x = convolution(x)
        return Model(pixels, layers.GlobalMaxPooling2D(name="features")(x), name=self.name)


SMALL_CNN = SmallCNN(
    name="small_cnn",
    description="Small CNN without pretrained weights, 32 px, for small images such as the digits",
    resize=ResizeRule(size=32, shorter_side=32),
    train_size=32,
    augmentation=RandomViews(smallest_area=0.7, stretch=1.2, flip=False),  # a flipped digit is another digit
    minimum_size=8,
    has_weights=False,
)
