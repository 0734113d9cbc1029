import numpy as np
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.recipes import Augmentation

# Red grows to the right, green grows downwards.
RAMP = np.zeros((1, 64, 64, 3), np.uint8)
RAMP[0, :, :, 0] = np.arange(64) * 4
RAMP[0, :, :, 1] = np.arange(64)[:, None] * 4


def views(how: Augmentation, count: int = 200) -> np.ndarray:
    tf.random.set_seed(0)
    return random_views(tf.constant(np.repeat(RAMP, count, axis=0)), 32, how).numpy()


def test_views_have_the_size_and_range_of_pixels() -> None:
    made = views(Augmentation(colour=0.4))
    assert made.shape == (200, 32, 32, 3)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 255


def test_half_of_the_views_are_mirrored_and_none_is_upside_down() -> None:
    made = views(Augmentation(colour=0))
    rightwards = made[:, 16, -1, 0] > made[:, 16, 0, 0]
    assert 0.35 < rightwards.mean() < 0.65
    assert (made[:, -1, 16, 1] > made[:, 0, 16, 1]).all()
    unmirrored = views(Augmentation(colour=0, flip=False))
    assert (unmirrored[:, 16, -1, 0] > unmirrored[:, 16, 0, 0]).all()


def test_a_view_shows_no_less_than_the_smallest_area() -> None:
    made = views(Augmentation(smallest_area=0.4, colour=0, flip=False))
    width = (made[:, 0, -1, 0] - made[:, 0, 0, 0]) / 252
    height = (made[:, -1, 0, 1] - made[:, 0, 0, 1]) / 252
    assert (width * height).min() > 0.39
    assert (width * height).max() < 1.01
    assert np.ptp(width * height) > 0.3


def test_nothing_to_change_changes_nothing() -> None:
    (same,) = random_views(tf.constant(RAMP), 64, Augmentation(smallest_area=1, stretch=1, colour=0, flip=False))
    assert np.abs(same - RAMP[0]).max() < 1e-2
