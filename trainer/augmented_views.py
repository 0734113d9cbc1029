"""Augmented views of training photos as inputs of the trainable layers, with cached activations of frozen ones."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.backbones.base import Backbone
from trainer.data import LabelledImages
from trainer.network import EmbeddingNetwork
from trainer.recipes.recipe import Recipe
from trainer.sampling import Indices, batches, slices

Photos = npt.NDArray[np.uint8]
Views = Callable[[Indices, Indices], tf.Tensor]

MAX_CACHE_BYTES = 2**30


def augmented_views(photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> Views:
    """Return a source of augmented views for `network.trainable`.

    Activations of the frozen lower layers are cached for `recipe.views` augmented views per photo if they fit in
    1 GiB. Otherwise, and if no layers are frozen, each call draws new views.

    Args:
        photos: uint8 [photos, side, side, 3].
        recipe: augmentation and number of cached views per photo.

    Returns:
        A function from indices of photos and the number of a view for each (both int [batch]; the number selects a
        cached view) to inputs of `network.trainable`, float32 [batch, …].
    """
    fresh = FreshViews(photos, network, recipe)
    if network.frozen is None:
        return fresh
    size = network.backbone.train_size
    view_bytes = np.dtype(np.float32).itemsize * np.prod(network.frozen.compute_output_shape((1, size, size, 3)))
    fit = view_bytes * len(photos) * recipe.views <= MAX_CACHE_BYTES
    return CachedViews(fresh, len(photos), recipe.views) if fit else fresh


def sample_batch(photos: LabelledImages, backbone: Backbone, recipe: Recipe, seed: int) -> LabelledImages:
    """Draw an augmented training batch of a recipe, without MixUp, to show it to people."""
    _, classes = np.unique(photos.labels, return_inverse=True)
    batch = next(batches(classes, recipe.sampling, np.random.default_rng(seed)))
    views = random_views(photos.images[batch], backbone.train_size, recipe.augmentation or backbone.augmentation)
    return LabelledImages(np.asarray(views, np.uint8), photos.labels[batch])


class FreshViews:
    """Draws a new random view of a photo in each call; see `augmented_views`."""

    def __init__(self, photos: Photos, network: EmbeddingNetwork, recipe: Recipe) -> None:
        self._photos, self._size = photos, network.backbone.train_size
        self._augmentation = recipe.augmentation or network.backbone.augmentation
        self._frozen = network.frozen

    def __call__(self, photos: Indices, numbers: Indices) -> tf.Tensor:
        """Return pixels in 0…255 or activations of the frozen layers, float32 [batch, …]; ignores the numbers."""
        views = random_views(self._photos[photos], self._size, self._augmentation)
        return views if self._frozen is None else tf.cast(self._frozen.predict_on_batch(views), tf.float32)


class CachedViews:
    """A fixed number of views per photo, drawn once; see `augmented_views`."""

    def __init__(self, fresh: FreshViews, photos: int, views: int) -> None:
        chunks = [np.arange(photos)[chunk] for chunk in slices(photos)]
        self._activations = [tf.concat([fresh(chunk, chunk) for chunk in chunks], axis=0) for _ in range(views)]

    def __call__(self, photos: Indices, numbers: Indices) -> tf.Tensor:
        """Return the activations of the given view of each photo, float32 [batch, height, width, channels]."""
        return tf.stack([self._activations[number][photo] for photo, number in zip(photos, numbers, strict=True)])
