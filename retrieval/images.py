"""Photos as the network sees them: one way to decode and resize, used by trainer, indexer and web."""

import io
import math
import threading
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from retrieval import formats
from retrieval.errors import BadQuery, UnreadablePhoto

DEFAULT_MAX_PIXELS = 64_000_000

# This turns off Pillow's own limit for the whole process that imports this module: Pillow has none for a single call.
# `_open` holds each photo's header against `max_pixels` instead.
Image.MAX_IMAGE_PIXELS = None

# Decoded at 4 bytes a pixel, a photo above this size takes more than 32 MB; few are in memory at once.
LARGE = 8_000_000
_large_decodes = threading.BoundedSemaphore(4)

# Pillow's memory comes in blocks. Larger than 32 MB, they go straight back to the system when they are freed; those of
# 16 MB, which are usual, glibc keeps for each thread.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]

BAND_PIXELS = 1_000_000

# How the upright photo follows from the stored one, by the camera's orientation (EXIF 2.32, 4.6.4); 1 is upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ResizeRule(BaseModel):
    """How a photo becomes a square input of the network.

    `crop` keeps the aspect ratio: the shorter side becomes `shorter_side` pixels, and the central `size` × `size` is
    kept. `squash` ignores the aspect ratio, as the 2020 notebooks did; so did they without antialiasing.
    """

    model_config = ConfigDict(frozen=True)

    size: int = Field(gt=0, description="side of the network's input, in pixels")
    shorter_side: int = Field(gt=0, description="length of the shorter side before cropping, in pixels")
    mode: Literal["crop", "squash"] = "crop"
    antialias: bool = Field(True, description="whether a photo is smoothed as it is made smaller")


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
    image, width, height = _decode(data, max_pixels, enough=2 * rule.shorter_side if rule.antialias else None)
    return DecodedPhoto(fit(image, rule), width, height)


def decode_photo(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS, enough: int | None = None) -> Image.Image:
    """Decode an encoded photo to an upright RGB image; raises `UnreadablePhoto`.

    It has its full size, unless a shorter side of `enough` pixels is said to do.
    """
    return _decode(data, max_pixels, enough)[0]


def fit(image: Image.Image, rule: ResizeRule) -> npt.NDArray[np.uint8]:
    """Resize and crop an RGB image by the rule; returns uint8 [size, size, 3]."""
    target, box = (rule.size, rule.size), _kept(*image.size, rule)
    if not rule.antialias:
        return np.asarray(image.transform(target, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR))
    return np.asarray(image.resize(target, Image.Resampling.BILINEAR, box=box))


def seen_part(photo: DecodedPhoto, rule: ResizeRule, crop: Crop | None = None) -> Crop:
    """The part of a photo that the network sees: the central crop hides the rest.

    Args:
        photo: the decoded photo, or the part of it within `crop`.
        rule: how it was resized and cropped.
        crop: the part that was decoded; all of the photo where None.
    """
    left, top, right, bottom = _kept(photo.width, photo.height, rule)
    part = crop or Crop(0, 0, 1, 1)
    across, down = part.width / photo.width, part.height / photo.height
    return Crop(part.x + left * across, part.y + top * down, (right - left) * across, (bottom - top) * down)


def _kept(width: int, height: int, rule: ResizeRule) -> tuple[float, float, float, float]:
    """The part of a photo that becomes the input, in one resampling step: left, upper, right and lower edge, pixels."""
    if rule.mode == "squash":
        return 0.0, 0.0, float(width), float(height)
    side = min(width, height) * rule.size / rule.shorter_side
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _cut(image: Image.Image, crop: Crop) -> Image.Image:
    left, top = int(crop.x * image.width), int(crop.y * image.height)
    right, bottom = round((crop.x + crop.width) * image.width), round((crop.y + crop.height) * image.height)
    return image.crop((left, top, min(max(right, left + 1), image.width), min(max(bottom, top + 1), image.height)))


def _decode(data: bytes, max_pixels: int, enough: int | None = None) -> tuple[Image.Image, int, int]:
    """The upright RGB image with its full width and height; where `enough` is given, it may be smaller than that,
    its shorter side no less than `enough` pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
            image = _open(data, max_pixels)
            width, height = image.size
            if enough is not None:
                image.draft("RGB", (enough * width // min(width, height), enough * height // min(width, height)))
            # A progressive JPEG is held whole, whatever size it is decoded to.
            held = width * height if "progressive" in image.info else image.width * image.height
            with _large_decodes if held > LARGE else nullcontext():
                image.seek(0)
                image.load()
                orientation = _orientation(image)
                image = _rgb(image, enough)
    except UnreadablePhoto:
        raise
    except UnidentifiedImageError:
        raise UnreadablePhoto("It is not a photo of a known format.") from None
    except Exception as error:  # every decoder has its own exceptions
        raise UnreadablePhoto(f"It is damaged or incomplete ({_first_line(error)}).") from None
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    return (image, height, width) if orientation >= 5 else (image, width, height)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    if not data:
        raise UnreadablePhoto("It is empty (0 bytes).")
    image = Image.open(io.BytesIO(data), formats=formats.NAMES)
    if image.width * image.height > max_pixels:
        raise UnreadablePhoto(
            f"It has {image.width} × {image.height} pixels, more than the {max_pixels:,} allowed.",
            "Make it smaller or raise LOOKALIKE_MAX_PIXELS.",
        )
    return image


def _orientation(image: Image.Image) -> int:
    """The camera's orientation of a loaded image, 1 to 8; Pillow has turned a TIFF upright already."""
    with suppress(Exception):  # damaged metadata is no reason to refuse a photo
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if orientation in UPRIGHT else 1
    return 1


def _rgb(image: Image.Image, enough: int | None) -> Image.Image:
    """An image of any mode as RGB, transparent pixels on white; at least twice as large as enough, it is made smaller.

    That happens band by band, so that no second image of the full size is ever held.
    """
    white = _white(image)
    if enough is None or min(image.size) < 2 * enough:
        return _on_white(image, white)
    scale = min(image.size) / enough
    width, height = round(image.width / scale), round(image.height / scale)
    small = Image.new("RGB", (width, height))
    rows = max(1, int(BAND_PIXELS / (scale * image.width)))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        upper, lower = top * image.height / height, bottom * image.height / height
        band = _on_white(image.crop((0, int(upper), image.width, math.ceil(lower))), white)
        box = (0, upper - int(upper), image.width, lower - int(upper))
        small.paste(band.resize((width, bottom - top), Image.Resampling.BOX, box), (0, top))
    return small


def _on_white(image: Image.Image, white: float) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bit(np.asarray(image), white)).convert("RGB")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image)
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")


def _white(image: Image.Image) -> float:
    """The value that is white: integers are taken as 16-bit (what PNG and TIFF hold), floats up to 1 as fractions."""
    if not image.mode.startswith("F"):
        return 65535.0
    return 1.0 if np.nanmax(np.asarray(image)) <= 1 else 255.0


def _to_8_bit(values: npt.NDArray[np.generic], white: float) -> npt.NDArray[np.uint8]:
    """Grey values in proportion to white as 8 bits; values beyond that range are clipped."""
    return np.clip(np.nan_to_num(values.astype(np.float32)) * (255.0 / white) + 0.5, 0, 255).astype(np.uint8)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
