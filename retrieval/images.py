"""The geometry of a photo: how it is cropped and resized to the network's input."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from retrieval.errors import BadQuery

Box = tuple[int, int, int, int]  # left, upper, right and lower edge of a part of an image, in pixels


LONG = 4  # ratio of the sides above which only the part of a photo that is kept is resized, which takes less memory
Interpolation = Literal["bilinear", "bicubic", "lanczos"]
RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class ResizeRule(BaseModel):
    """How a photo is resized to the square input of the network.

    `crop` keeps the aspect ratio: the shorter side becomes `shorter_side` pixels, and the central `size` × `size`
    pixels are used. `squash` ignores the aspect ratio. The 2020 notebooks squashed, without antialiasing. `pad` keeps
    the aspect ratio and the whole photo: the longer side becomes `size` pixels, and the rest is filled with grey.
    """

    model_config = ConfigDict(frozen=True)

    size: int = Field(gt=0, description="side of the network's input, in pixels")
    shorter_side: int = Field(gt=0, description="length of the shorter side before cropping, in pixels")
    mode: Literal["crop", "squash", "pad"] = "crop"
    antialias: bool = Field(True, description="whether a photo is smoothed when it is reduced")
    interpolation: Interpolation = Field("bilinear", description="the filter of resizing, if it is with antialiasing")
    whole_pixels: bool = Field(
        False, description="whether a photo is resized to whole pixels before it is cropped, as Transformers does"
    )
    fill: int = Field(0, ge=0, le=255, description="the grey level of the padding of `pad`")


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """The network's input, uint8 [size, size, 3] RGB, and the width and height of the upright photo, in pixels."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    ignores_profile: bool = False  # whether its colour profile can't be used


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an upright photo: its upper left corner and its size, as fractions of width and height."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        inside = 0 <= self.x < 1 and 0 <= self.y < 1 and self.x + self.width <= 1.001 and self.y + self.height <= 1.001
        if not (inside and self.width > 0 and self.height > 0):
            raise BadQuery("The crop must be within the photo: x, y, width and height are fractions from 0 to 1.")


def fit(image: Image.Image, rule: ResizeRule) -> Image.Image:
    """Resize and crop an image of any colour space by the rule: to size × size pixels, or less before `pad`."""
    target, box = (rule.size, rule.size), _input_box(*image.size, rule)
    if rule.mode == "pad":
        target = _scaled(*image.size, rule.size / max(image.size))
    if not rule.antialias:
        return image.transform(target, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    if rule.mode == "crop" and rule.whole_pixels and max(image.size) <= LONG * min(image.size):
        return _resized_then_cropped(image, rule)
    return image.resize(target, RESAMPLING[rule.interpolation], box=box)


def pad(image: Image.Image, rule: ResizeRule) -> Image.Image:
    """Put an RGB image that `fit` resized in the middle of size × size pixels."""
    if image.size == (rule.size, rule.size):
        return image
    padded = Image.new("RGB", (rule.size, rule.size), (rule.fill,) * 3)
    padded.paste(image, ((rule.size - image.width) // 2, (rule.size - image.height) // 2))
    return padded


def seen_part(photo: DecodedPhoto, rule: ResizeRule, crop: Crop | None = None) -> Crop:
    """The part of a photo that the network sees: the central crop hides the rest.

    Args:
        photo: the decoded photo, or the part of it within `crop`.
        crop: the part that was decoded; None: all of the photo.
    """
    left, top, right, bottom = _input_box(photo.width, photo.height, rule)
    part = crop or Crop(0, 0, 1, 1)
    across, down = part.width / photo.width, part.height / photo.height
    return Crop(part.x + left * across, part.y + top * down, (right - left) * across, (bottom - top) * down)


def crop_box(crop: Crop, width: int, height: int) -> Box:
    """The part of an image of this width and height within a crop, at least one pixel wide and high."""
    left, top = int(crop.x * width), int(crop.y * height)
    right, bottom = round((crop.x + crop.width) * width), round((crop.y + crop.height) * height)
    return left, top, min(max(right, left + 1), width), min(max(bottom, top + 1), height)


def _input_box(width: int, height: int, rule: ResizeRule) -> tuple[float, float, float, float]:
    """The part of a photo that is resampled to the input: left, upper, right and lower edge, in pixels."""
    if rule.mode != "crop":
        return 0.0, 0.0, float(width), float(height)
    if rule.whole_pixels:
        resized, (x, y) = _whole_pixels(width, height, rule)
        across, down = width / resized[0], height / resized[1]
        return x * across, y * down, (x + rule.size) * across, (y + rule.size) * down
    side = min(width, height) * rule.size / rule.shorter_side
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _resized_then_cropped(image: Image.Image, rule: ResizeRule) -> Image.Image:
    """Resize the whole image, then crop it.

    Resizing only the part that is kept would be faster. But Pillow may then process rows and columns in another order,
    which changes some pixels by up to 10 of 255.
    """
    resized, (x, y) = _whole_pixels(*image.size, rule)
    return image.resize(resized, RESAMPLING[rule.interpolation]).crop((x, y, x + rule.size, y + rule.size))


def _whole_pixels(width: int, height: int, rule: ResizeRule) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size to which a photo is resized before it is cropped, and the upper left corner of the crop."""
    shorter = min(width, height)
    resized = rule.shorter_side * width // shorter, rule.shorter_side * height // shorter
    return resized, ((resized[0] - rule.size) // 2, (resized[1] - rule.size) // 2)


def _scaled(width: int, height: int, factor: float) -> tuple[int, int]:
    return max(1, round(width * factor)), max(1, round(height * factor))
