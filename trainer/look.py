"""The part look of an embedding: feature maps of the network, pooled, mean-centred and reduced; it needs no labels.

The upper layers of a fine-tuned network keep what separates its classes. The linear bottlenecks just below them also
keep what tells two photos of a class apart, so that an edited copy of a photo finds its original.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.linalg import eigh

from trainer.augmentation import random_views
from trainer.backbones.base import Backbone
from trainer.inference import run_in_batches, traced
from trainer.recipes.components import RandomViews, Unchanged
from trainer.recipes.recipe import AnyAugmentation
from trainer.sampling import slices

LAYER = "look_projection"
MOST_PHOTOS = 1024
NUMBER_OF_VIEWS = 3
VIEWS = RandomViews(smallest_area=0.35, stretch=1.0, colour=0.2)  # changes that leave the look of a photo the same
SHRINKAGE = 1.0
EPSILON = 1e-9

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LookPart:
    """The layers of the part look.

    Attributes:
        maps: pixels → feature maps float32 [batch, h, w, c], or features float32 [batch, c], one for each layer.
        head: joined average-pooled maps, float32 [batch, f] → the part look, float32 [batch, length], unit length.
            It has a projection to fit, except that of a network whose features are the part look.
        weight: of its cosine similarity in the score.
    """

    maps: tf.keras.Model
    head: tf.keras.Model
    weight: float

    @property
    def length(self) -> int:
        """Number of dimensions of the part."""
        return int(self.head.output_shape[-1])

    @property
    def has_projection(self) -> bool:
        """Whether it can be fitted to photos."""
        return any(layer.name == LAYER for layer in self.head.layers)

    @property
    def pooled(self) -> tf.keras.Model:
        """The model from pixels to the input of `head`."""
        return tf.keras.Model(self.maps.input, pool(self.maps.outputs))

    def fit(self, photos: Features, views: Features) -> None:
        """Set the projection to the directions that differ most between photos and least between views of a photo.

        This is linear discriminant analysis (Fisher 1936) in which each photo is a class, with shrinkage.

        Args:
            photos: inputs of `head` for photos, float32 [photos, f].
            views: the same for augmented views of each photo, float32 [views, photos, f].
        """
        width, mean = photos.shape[1], photos.mean(axis=0)
        changes = (views - photos).reshape(-1, width)
        within = changes.T @ changes / len(changes)
        within += (SHRINKAGE * np.trace(within) / width + EPSILON) * np.eye(width)
        between = (photos - mean).T @ (photos - mean) / len(photos)
        _, directions = eigh(between, within, subset_by_index=[width - self.length, width - 1])
        layer = self.head.get_layer(LAYER)
        layer.kernel.assign(directions[:, ::-1])
        layer.bias.assign(-mean @ directions[:, ::-1])


def fit_look(
    look: LookPart, images: npt.NDArray[np.uint8], photos: npt.NDArray[np.int64], backbone: Backbone, seed: int
) -> None:
    """Fit the part look to photos and augmented views of them, and set TensorFlow's seed.

    Args:
        look: the part, whose network has its final weights.
        images: uint8 [images, side, side, 3].
        photos: positions of the photos among the images; `MOST_PHOTOS` suffice.
        backbone: of the network.
        seed: of the views.
    """
    pooled, size = traced(look.pooled), backbone.resize.size

    def features(augmentation: AnyAugmentation) -> Features:
        views = (random_views(images[photos[chunk]], size, augmentation) for chunk in slices(len(photos)))
        return np.concatenate([run_in_batches(pooled, of_chunk)[0] for of_chunk in views])

    tf.random.set_seed(seed)
    changes = replace(VIEWS, flip=backbone.augmentation.flip)
    views = np.stack([features(changes) for _ in range(NUMBER_OF_VIEWS)])
    look.fit(features(Unchanged()), views)


def build_look(features: tf.keras.Model, layers: tuple[str, ...], length: int, weight: float) -> LookPart:
    """Build the part look of a network.

    Args:
        features: the backbone, pixels → features.
        layers: names of the layers whose feature maps it takes; empty: the backbone's last feature map.
        length: number of dimensions; at most that of the pooled maps.
        weight: of its cosine similarity in the score.
    """
    outputs = [features.get_layer(name).output for name in layers] or [_last_map(features)]
    width = sum(output.shape[-1] for output in outputs)
    joined = tf.keras.layers.Input((width,), name="pooled")
    projection = tf.keras.layers.Dense(min(length, width), trainable=False, dtype="float32", name=LAYER)(joined)
    unit = tf.keras.layers.UnitNormalization(dtype="float32", name="look")(projection)
    return LookPart(tf.keras.Model(features.input, outputs), tf.keras.Model(joined, unit), weight)


def features_as_look(features: tf.keras.Model, weight: float) -> LookPart:
    """Return the part look of a network with features that are meant to be compared: the features, at unit length."""
    joined = tf.keras.layers.Input((features.output_shape[-1],), name="pooled")
    unit = tf.keras.layers.UnitNormalization(dtype="float32", name="look")(joined)
    return LookPart(features, tf.keras.Model(joined, unit), weight)


def pool(maps: list[tf.Tensor]) -> tf.Tensor:
    """Average each feature map over its cells, scale it to unit length, and join them: float32 [batch, f].

    Features without cells, [batch, c], are not averaged.
    """
    maps = [tf.cast(one, tf.float32) for one in maps]
    pooled = [tf.reduce_mean(one, axis=(1, 2)) if one.shape.rank == 4 else one for one in maps]
    return tf.concat([tf.math.l2_normalize(one, axis=-1) for one in pooled], axis=-1)


def _last_map(features: tf.keras.Model) -> tf.Tensor:
    """The input of the global pooling with which a backbone ends; its features if it does not."""
    pooling = global_pooling(features)
    return features.output if pooling is None else pooling.input


def global_pooling(features: tf.keras.Model) -> tf.keras.layers.Layer | None:
    """Return the global average or max pooling with which a backbone ends; None if it ends with something else."""
    last = features.get_layer(features.output_names[0])
    is_pooling = isinstance(last, tf.keras.layers.GlobalAveragePooling2D | tf.keras.layers.GlobalMaxPooling2D)
    return last if is_pooling else None
