"""Which photos make a batch."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainer.recipes.components import Shuffled
from trainer.recipes.recipe import AnySampling

PHOTOS_PER_CLASS_AT_LEAST = 4
BATCH = 64

Positions = npt.NDArray[np.int_]


def batches(labels: Positions, how: AnySampling, rng: np.random.Generator) -> Iterator[Positions]:
    """Batches without end: positions of photos, the class of each of which is in `labels`, int [photos]."""
    if isinstance(how, Shuffled):
        return shuffled_batches(len(labels), how.batch_size, rng)
    return balanced_batches(labels, how.batch_size, rng)


def balanced_batches(labels: Positions, batch_size: int, rng: np.random.Generator) -> Iterator[Positions]:
    """P×K batches without end: P classes, K photos of each, so that every batch has positives and negatives.

    P is the number of classes, or as many as leave K ≥ 4; K fills the batch. The photos of a class come in turns: each
    is seen once before any is seen again, whatever the size of its class. A class with fewer than K photos repeats
    photos (as other views, where photos are augmented); one with a single photo appears with that photo alone, as a
    negative of the others.

    Args:
        labels: the class of each photo, int [photos].
        batch_size: P·K at most.
        rng: the source of chance.

    Yields:
        Positions of photos, int [at most batch_size].
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    classes = max(2, min(len(members), batch_size // PHOTOS_PER_CLASS_AT_LEAST))
    photos = batch_size // classes
    turns = [_turns(positions, rng) for positions in members]
    while True:
        chosen = rng.choice(len(members), classes, replace=False)
        yield np.array(
            [next(turns[label]) for label in chosen for _ in range(photos if len(members[label]) > 1 else 1)]
        )


def shuffled_batches(photos: int, batch_size: int, rng: np.random.Generator) -> Iterator[Positions]:
    """All photos in random order, then all again in another; the last batch of each round is what is left.

    Args:
        photos: how many.
        batch_size: photos in the other batches.
        rng: the source of chance.

    Yields:
        Positions of photos, int [at most batch_size].
    """
    while True:
        order = rng.permutation(photos)
        yield from (order[start : start + batch_size] for start in range(0, photos, batch_size))


def slices(photos: int) -> Iterator[slice]:
    """So many photos in their own order, 64 at once: as a network is given them that does not learn."""
    return (slice(start, start + BATCH) for start in range(0, photos, BATCH))


def _turns(values: Positions, rng: np.random.Generator) -> Iterator[int]:
    """The values in random order, again and again."""
    while True:
        yield from rng.permutation(values)
