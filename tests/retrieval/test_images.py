"""A photo is cropped and resized to the network's input by the bundle's rule."""

import make
import numpy as np
import pytest
from PIL import Image

from retrieval import images
from retrieval.errors import BadQuery
from retrieval.images import Crop, ResizeRule

RULE = ResizeRule(size=32, shorter_side=32)
RED = (200, 40, 40)


def fit(image: Image.Image, rule: ResizeRule) -> np.ndarray:
    return np.asarray(images.fit(image, rule))


def test_a_crop_keeps_the_middle_and_the_proportions() -> None:
    image = Image.new("RGB", (300, 100), "white")
    image.paste(RED, (100, 0, 200, 100))
    pixels = fit(image, RULE)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[:, 2:-2], np.broadcast_to(RED, (32, 28, 3)), atol=3)


def test_a_longer_shorter_side_crops_more() -> None:
    image = Image.new("RGB", (100, 100), "white")
    image.paste(RED, (25, 25, 75, 75))
    pixels = fit(image, ResizeRule(size=32, shorter_side=64))
    np.testing.assert_allclose(pixels[2:-2, 2:-2], np.broadcast_to(RED, (28, 28, 3)), atol=3)


@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_without_antialiasing_each_pixel_is_between_four_of_the_photo(mode: str) -> None:
    stripes = np.zeros((90, 90, 3), np.uint8)
    stripes[:, ::3] = 255
    rule = ResizeRule(size=30, shorter_side=30, mode=mode, antialias=False)
    assert not fit(Image.fromarray(stripes), rule).any()  # the black stripes lie at the centres
    smooth = fit(Image.fromarray(stripes), rule.model_copy(update={"antialias": True}))
    assert smooth.mean() == pytest.approx(255 / 3, abs=1)


def test_squash_keeps_everything() -> None:
    image = Image.new("RGB", (200, 100), "white")
    image.paste(RED, (0, 0, 100, 100))
    pixels = fit(image, ResizeRule(size=32, shorter_side=32, mode="squash"))
    np.testing.assert_allclose(pixels[:, :15], np.broadcast_to(RED, (32, 15, 3)), atol=3)
    np.testing.assert_allclose(pixels[:, 17:], 255, atol=3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(201, 133), (133, 201), (64, 64), (32, 77), (400, 51)])
def test_a_photo_resized_to_whole_pixels_is_as_if_it_was_resized_and_then_cropped(
    size: tuple[int, int], interpolation: str
) -> None:
    photo = make.photo(size=size)
    rule = ResizeRule(size=56, shorter_side=64, interpolation=interpolation, whole_pixels=True)
    resized = photo.resize(
        tuple(64 * side // min(size) for side in size), getattr(Image.Resampling, interpolation.upper())
    )
    left, top = (resized.width - 56) // 2, (resized.height - 56) // 2
    expected = np.asarray(resized.crop((left, top, left + 56, top + 56)), int)
    assert np.abs(fit(photo, rule) - expected).max() <= (0 if max(size) < 4 * min(size) else 10)


def test_padding_keeps_everything_in_the_middle_of_grey() -> None:
    rule = ResizeRule(size=32, shorter_side=32, mode="pad", fill=7)
    pixels = np.asarray(images.pad(images.fit(Image.new("RGB", (200, 100), RED), rule), rule))
    assert pixels.shape == (32, 32, 3)
    assert np.unique(pixels[8:24].reshape(-1, 3), axis=0).tolist() == [list(RED)]
    assert set(np.concatenate([pixels[:8], pixels[24:]]).ravel()) == {7}


def test_small_photos_are_enlarged() -> None:
    assert fit(Image.new("RGB", (1, 1), RED), RULE).tolist() == [[list(RED)] * 32] * 32


@pytest.mark.parametrize(
    "crop", [(-0.1, 0, 1, 1), (0, 0, 0, 1), (0.5, 0, 0.6, 1), (0, 1, 1, 0.1), (float("nan"), 0, 1, 1)]
)
def test_a_crop_beyond_the_photo_is_refused(crop: tuple[float, ...]) -> None:
    with pytest.raises(BadQuery):
        Crop(*crop)
