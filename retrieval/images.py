"""The geometry of a photo: how it is cropped and resized to the network's input."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from retrieval.errors import BadQuery

Box = tuple[int, int, int, int]  # left, upper, right and lower edge of a part of an image, in pixels


class ResizeRule(BaseModel):
    """How a photo is resized to the square input of the network.

    `crop` keeps the aspect ratio: the shorter side becomes `shorter_side` pixels, and the central `size` × `size`
    pixels are used. `squash` ignores the aspect ratio. The 2020 notebooks squashed, without antialiasing.
    """

    model_config = ConfigDict(frozen=True)

    size: int = Field(gt=0, description="side of the network's input, in pixels")
    shorter_side: int = Field(gt=0, description="length of the shorter side before cropping, in pixels")
    mode: Literal["crop", "squash"] = "crop"
    antialias: bool = Field(True, description="whether a photo is smoothed when it is reduced")


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """The network's input, uint8 [size, size, 3] RGB, and the width and height of the upright photo, in pixels."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int


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
    """Resize and crop an image of any colour space by the rule, to size × size pixels."""
    target, box = (rule.size, rule.size), _input_box(*image.size, rule)
    if not rule.antialias:
        return image.transform(target, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return image.resize(target, Image.Resampling.BILINEAR, box=box)


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
    if rule.mode == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * rule.size / rule.shorter_side
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
