"""Sampling of training batches."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainer.recipes.components import Shuffled
from trainer.recipes.recipe import AnySampling

MIN_PHOTOS_PER_CLASS = 4
BATCH = 64

Indices = npt.NDArray[np.int_]


def batches(labels: Indices, sampling: AnySampling, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield batches without end, each as indices of photos; `labels` has the class of each photo, int [photos]."""
    if isinstance(sampling, Shuffled):
        return shuffled_batches(len(labels), sampling.batch_size, rng)
    return balanced_batches(labels, sampling.batch_size, rng)


def balanced_batches(labels: Indices, batch_size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield P×K batches without end: P classes with K photos each, so that every batch has positives and negatives.

    P is the number of classes, reduced if necessary so that K ≥ 4; K fills the batch, of at most `batch_size` photos.
    Each class is sampled without replacement until all of its photos were used, then reshuffled. A class with fewer
    than K photos repeats photos (as different views, if photos are augmented); a class with one photo contributes it
    once, as a negative. The labels are int [photos], a batch has the indices of photos, int [at most batch_size].
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = max(2, min(len(members), batch_size // MIN_PHOTOS_PER_CLASS))
    photos = batch_size // classes
    samplers = [_without_replacement(indices, rng) for indices in members]
    while True:
        chosen = rng.choice(len(members), classes, replace=False)
        yield np.array(
            [next(samplers[label]) for label in chosen for _ in range(photos if len(members[label]) > 1 else 1)]
        )


def shuffled_batches(photos: int, batch_size: int, rng: np.random.Generator) -> Iterator[Indices]:
    """Yield batches without end: all photos in random order, then reshuffled; the last batch of a pass may be smaller.

    A batch has the indices of photos, int [at most batch_size].
    """
    while True:
        order = rng.permutation(photos)
        yield from (order[start : start + batch_size] for start in range(0, photos, batch_size))


def slices(photos: int, most: int = BATCH) -> Iterator[slice]:
    """Split a number of photos into consecutive slices of at most `most`, for inference."""
    return (slice(start, start + most) for start in range(0, photos, most))


def _without_replacement(values: Indices, rng: np.random.Generator) -> Iterator[int]:
    """Yield all values in random order, again and again."""
    while True:
        yield from rng.permutation(values)
