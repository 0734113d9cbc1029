import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import random_views
from trainer.recipes.components import CropAndFlip, QuarterTurn, RandomViews, Strong, Unchanged
from trainer.recipes.recipe import AnyAugmentation

# Red grows to the right, green grows downwards.
RAMP = np.zeros((1, 64, 64, 3), np.uint8)
RAMP[0, :, :, 0] = np.arange(64) * 4
RAMP[0, :, :, 1] = np.arange(64)[:, None] * 4


def views(how: AnyAugmentation, count: int = 200) -> np.ndarray:
    tf.random.set_seed(0)
    return random_views(tf.constant(np.repeat(RAMP, count, axis=0)), 32, how).numpy()


def test_views_have_the_size_and_range_of_pixels() -> None:
    made = views(RandomViews(colour=0.4))
    assert made.shape == (200, 32, 32, 3)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 255


def test_half_of_the_views_are_flipped_horizontally_and_none_vertically() -> None:
    made = views(RandomViews(colour=0))
    rightwards = made[:, 16, -1, 0] > made[:, 16, 0, 0]
    assert 0.35 < rightwards.mean() < 0.65
    assert (made[:, -1, 16, 1] > made[:, 0, 16, 1]).all()
    unmirrored = views(RandomViews(colour=0, flip=False))
    assert (unmirrored[:, 16, -1, 0] > unmirrored[:, 16, 0, 0]).all()


def test_a_view_shows_no_less_than_the_smallest_area() -> None:
    made = views(RandomViews(smallest_area=0.4, colour=0, flip=False))
    width = (made[:, 0, -1, 0] - made[:, 0, 0, 0]) / 252
    height = (made[:, -1, 0, 1] - made[:, 0, 0, 1]) / 252
    assert (width * height).min() > 0.39
    assert (width * height).max() < 1.01
    assert np.ptp(width * height) > 0.3


def test_augmentation_of_strength_zero_changes_nothing() -> None:
    (same,) = random_views(tf.constant(RAMP), 64, RandomViews(smallest_area=1, stretch=1, colour=0, flip=False))
    assert np.abs(same - RAMP[0]).max() < 1e-2


def test_the_notebooks_quarter_turn_is_numpy_s() -> None:
    (turned,) = random_views(tf.constant(RAMP), 64, QuarterTurn())
    assert (turned.numpy() == np.fliplr(np.rot90(RAMP[0]))).all()


def test_unchanged_views_are_the_resized_photo() -> None:
    (same,) = random_views(tf.constant(RAMP), 64, Unchanged())
    assert (same.numpy() == RAMP[0]).all()
    assert random_views(tf.constant(RAMP), 32, Unchanged()).shape == (1, 32, 32, 3)


def test_crops_keep_the_scale_and_half_of_them_are_flipped() -> None:
    made = views(CropAndFlip())
    left, top = made[:, 0, 0, 0] / 4, made[:, 0, 0, 1] / 4
    mirrored = left > made[:, 0, -1, 0] / 4
    assert 0.35 < mirrored.mean() < 0.65
    assert np.abs(made[:, :, 0, 1] / 4 - top[:, None] - np.arange(32)).max() < 0.01
    assert set(np.round(top).astype(int)) == set(range(33))
    assert np.abs(np.ptp(made[:, 0, :, 0], axis=1) / 4 - 31).max() < 0.01


@pytest.mark.slow
def test_strong_views_are_sometimes_flipped_moved_recoloured_and_grey() -> None:
    def strong(**options: float) -> np.ndarray:
        how = Strong(**({"flip": 0, "crop": 0, "jitter": 0, "grey": 0} | options))
        tf.random.set_seed(0)
        return random_views(tf.constant(np.repeat(RAMP, 200, axis=0)), 64, how).numpy()

    def changed(made: np.ndarray) -> float:
        return float((np.abs(made - RAMP[0]).max(axis=(1, 2, 3)) > 0.01).mean())

    assert changed(strong()) == 0
    assert changed(strong(flip=0.4)) == pytest.approx(0.4, abs=0.1)
    assert changed(strong(crop=0.3)) == pytest.approx(0.3, abs=0.1)
    assert changed(strong(jitter=0.4)) == pytest.approx(0.4, abs=0.1)
    grey = strong(grey=0.6)
    assert (np.ptp(grey, axis=3).max(axis=(1, 2)) < 0.01).mean() == pytest.approx(0.6, abs=0.1)
    made = strong(flip=0.4, crop=0.3, jitter=1, grey=0.6)
    assert made.min() >= 0
    assert made.max() <= 255
