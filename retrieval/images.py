"""Photos as the network sees them: one way to decode and resize, used by trainer, indexer and web."""

import io
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from retrieval.errors import BadQuery, UnreadablePhoto

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
DEFAULT_MAX_PIXELS = 64_000_000

# `_open` checks the limit against each photo's header; Pillow's own limit cannot be set for one call.
Image.MAX_IMAGE_PIXELS = None


class ResizeRule(BaseModel):
    """How a photo becomes a square input of the network.

    `crop` keeps the aspect ratio: the shorter side becomes `shorter_side` pixels, and the central `size` × `size` is
    kept. `squash` ignores the aspect ratio, as the 2020 notebooks did. Both antialias.
    """

    model_config = ConfigDict(frozen=True)

    size: int = Field(gt=0, description="side of the network's input, in pixels")
    shorter_side: int = Field(gt=0, description="length of the shorter side before cropping, in pixels")
    mode: Literal["crop", "squash"] = "crop"


@dataclass(frozen=True, slots=True)
class DecodedPhoto:
    """A photo ready for the network: pixels uint8 [size, size, 3] RGB, and its full width and height, upright."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an upright photo: its left upper corner and its size, as fractions of width and height."""

    x: float
    y: float
    width: float
    height: float

    def __post_init__(self) -> None:
        inside = 0 <= self.x < 1 and 0 <= self.y < 1 and self.x + self.width <= 1.001 and self.y + self.height <= 1.001
        if not (inside and self.width > 0 and self.height > 0):
            raise BadQuery("The crop must lie within the photo: x, y, width and height are fractions from 0 to 1.")


def read_pixels(
    data: bytes, rule: ResizeRule, max_pixels: int = DEFAULT_MAX_PIXELS, crop: Crop | None = None
) -> DecodedPhoto:
    """Decode an encoded photo and fit it to the network's input.

    Args:
        data: the file's content: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF or AVIF.
        rule: how to resize and crop.
        max_pixels: larger photos are refused by their header, without decoding them.
        crop: only this part of the photo; all of it where None.

    Raises:
        UnreadablePhoto: not a photo of a known format, damaged, or too large.
    """
    if crop is not None:
        image = _cut(decode_photo(data, max_pixels), crop)
        return DecodedPhoto(fit(image, rule), *image.size)
    image, width, height = _decode(data, max_pixels, enough=2 * rule.shorter_side)
    return DecodedPhoto(fit(image, rule), width, height)


def decode_photo(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, enough: int | None = None) -> Image.Image:
    """Decode an encoded photo to an upright RGB image; raises `UnreadablePhoto`.

    It has its full size, unless a shorter side of `enough` pixels is said to do.
    """
    return _decode(data, max_pixels, enough)[0]


def fit(image: Image.Image, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    """Resize and crop an RGB image by the rule; returns uint8 [size, size, 3]."""
    target = (rule.size, rule.size)
    if rule.mode == "squash":
        return np.asarray(image.resize(target, Image.Resampling.BILINEAR))
    # One resampling step for both: the part of the photo that the central crop will keep, straight to the target size.
    side = min(image.size) * rule.size / rule.shorter_side
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return np.asarray(image.resize(target, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)))


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    left, top = int(crop.x * image.width), int(crop.y * image.height)
    right, bottom = round((crop.x + crop.width) * image.width), round((crop.y + crop.height) * image.height)
    return image.crop((left, top, min(max(right, left + 1), image.width), min(max(bottom, top + 1), image.height)))


def _decode(data: bytes, max_pixels: int, enough: int | None = None) -> tuple[Image.Image, int, int]:
    """The upright RGB image with its full width and height; where `enough` is given, a JPEG may be decoded at a
    half, a quarter or an eighth of its size, its shorter side no less than `enough` pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
            image = _open(data, max_pixels)
            width, height = image.size
            if enough is not None:
                image.draft("RGB", (enough * width // min(width, height), enough * height // min(width, height)))
            image = _upright_rgb(image)
    except UnreadablePhoto:
        raise
    except UnidentifiedImageError:
        raise UnreadablePhoto("It is not a photo of a known format.") from None
    except Exception as error:  # every decoder has its own exceptions
        raise UnreadablePhoto(f"It is damaged or incomplete ({_first_line(error)}).") from None
    return (image, width, height) if (width > height) == (image.width > image.height) else (image, height, width)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise UnreadablePhoto("It is empty (0 bytes).")
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise UnreadablePhoto(
            f"It has {image.width} × {image.height} pixels, more than the {max_pixels:,} allowed.",
            "Make it smaller or raise LOOKALIKE_MAX_PIXELS.",
        )
    return image


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.seek(0)
    image.load()
    with suppress(Exception):  # damaged metadata is no reason to refuse a photo
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bit(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Grey values of 16 or 32 bits, or floating point, as 8 bits.

    Integers are taken as 16-bit (what PNG and TIFF hold), floats up to 1 as fractions of white; both keep their
    proportions. Values beyond that range are clipped.
    """
    floats = np.nan_to_num(values.astype(np.float32))
    white = (
        1.0
        if values.dtype.kind == "f" and floats.max(initial=0) <= 1
        else 255.0
        if values.dtype.kind == "f"
        else 65535.0
    )
    return np.clip(floats * (255.0 / white) + 0.5, 0, 255).astype(np.uint8)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
