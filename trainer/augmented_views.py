"""Views of training photos, as the part of a network takes them that learns."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.network import EmbeddingNetwork
from trainer.recipes.recipe import Recipe
from trainer.sampling import Positions, slices

Photos = npt.NDArray[np.uint8]
Views = Callable[[Positions, Positions], tf.Tensor]

STORED_AT_MOST = 2**30  # bytes


def augmented_views(photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> Views:
    """The views that a network learns from, each as far as the resting part of the network, if any, has brought it.

    Where a part rests, and what it makes of as many views of each photo as the recipe names fits into 1 GiB, that is
    computed once; elsewhere each view is another one.

    Args:
        photos: uint8 [photos, side, side, 3].
        network: that learns from them.
        recipe: says how photos may vary, and how many views of each there are.

    Returns:
        A function from photos and, for each, the number of its view, which tells stored ones apart, to what
        `network.trainable` takes: float32 [batch, …].
    """
    fresh = FreshViews(photos, network, recipe)
    if network.frozen is None:
        return fresh
    size = network.backbone.train_size
    each = np.dtype(np.float32).itemsize * np.prod(network.frozen.compute_output_shape((1, size, size, 3)))
    fit = each * len(photos) * recipe.views <= STORED_AT_MOST
    return StoredViews(fresh, len(photos), recipe.views) if fit else fresh


class FreshViews:
    """A random view of each photo, another one each time; see `augmented_views`."""

    def __init__(self, photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> None:
        self._photos, self._size = photos, network.backbone.train_size
        self._how = recipe.augmentation or network.backbone.augmentation
        self._frozen = network.frozen

    def __call__(self, photos: Positions, numbers: Positions) -> tf.Tensor:
        """Float32 [batch, …], whatever the numbers: pixels in 0…255, or maps of the resting part."""
        views = random_views(self._photos[photos], self._size, self._how)
        return views if self._frozen is None else tf.cast(self._frozen.predict_on_batch(views), tf.float32)


class StoredViews:
    """A few views of each photo, which stay the same; see `augmented_views`."""

    def __init__(self, fresh: FreshViews, photos: int, views: int) -> None:
        batches = [np.arange(photos)[part] for part in slices(photos)]
        self._stored = [tf.concat([fresh(batch, batch) for batch in batches], axis=0) for _ in range(views)]

    def __call__(self, photos: Positions, numbers: Positions) -> tf.Tensor:
        """Float32 [batch, height, width, channels]: of each photo the view of that number."""
        return tf.stack([self._stored[number][photo] for photo, number in zip(photos, numbers, strict=True)])
