"""Views of training photos, as the part of a network takes them that learns."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.network import EmbeddingNetwork
from trainer.recipes.recipe import Recipe
from trainer.sampling import Positions, parts

Photos = npt.NDArray[np.uint8]

STORED_AT_MOST = 2**30  # bytes


class Views(Protocol):
    """Views of training photos.

    Attributes:
        learning: Keras model, views → features float32 [batch, f].
    """

    learning: tf.keras.Model

    def __call__(self, photos: Positions, numbers: Positions) -> tf.Tensor:
        """A view of each photo, float32 [batch, …]; which one, `numbers` may say."""


def views_of(photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> Views:
    """The views that a network learns from.

    Where a part of the network rests, and what it makes of as many views of each photo as the recipe names fits into
    1 GiB, that is computed once; elsewhere each view is another one.

    Args:
        photos: uint8 [photos, side, side, 3].
        network: that learns from them.
        recipe: says how photos may vary, and how many views of each there are.
    """
    fresh = FreshViews(photos, network, recipe)
    if network.resting is None:
        return fresh
    size = network.backbone.train_size
    each = np.dtype(np.float32).itemsize * np.prod(network.resting.compute_output_shape((1, size, size, 3)))
    fit = each * len(photos) * recipe.views <= STORED_AT_MOST
    return StoredViews(fresh, len(photos), network, recipe.views) if fit else fresh


class FreshViews:
    """A random view of each photo, another one each time; see `views_of`."""

    def __init__(self, photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> None:
        self.learning = network.features
        self._photos, self._size = photos, network.backbone.train_size
        self._how = recipe.augmentation or network.backbone.augmentation

    def __call__(self, photos: Positions, numbers: Positions) -> tf.Tensor:
        """Float32 [batch, size, size, 3] in 0…255, whatever the numbers."""
        return random_views(self._photos[photos], self._size, self._how)


class StoredViews:
    """What the resting part of a network makes of a few random views of each photo; see `views_of`."""

    def __init__(self, fresh: FreshViews, photos: int, network: EmbeddingNetwork, views: int) -> None:
        assert network.resting is not None
        self.learning = network.learning
        self._stored = [
            tf.concat([_seen(network.resting, fresh, np.arange(photos)[part]) for part in parts(photos)], axis=0)
            for _ in range(views)
        ]

    def __call__(self, photos: Positions, numbers: Positions) -> tf.Tensor:
        """Float32 [batch, height, width, channels]: of each photo the view of that number."""
        return tf.stack([self._stored[number][photo] for photo, number in zip(photos, numbers, strict=True)])


def _seen(resting: tf.keras.Model, fresh: FreshViews, photos: Positions) -> tf.Tensor:
    return tf.cast(resting.predict_on_batch(fresh(photos, photos)), tf.float32)
