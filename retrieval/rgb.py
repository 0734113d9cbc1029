"""From the pixels of a decoder to upright 8-bit RGB.

The conversion is done in bands, so that it needs little more memory than the image and its result.
"""

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval.images import Box

BAND_PIXELS = 1_000_000
TRANSPOSED = {  # EXIF orientation → how an image is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_rgb(image: Image.Image, box: Box, scale: float, orientation: int) -> Image.Image:
    """Part of an image of any mode as upright RGB, transparent pixels on white.

    Args:
        box: the part, in pixels of the image as it is stored.
        scale: width and height of the part are divided by this number, at least 1.
        orientation: its EXIF orientation, 1 (upright) to 8.
    """
    left, upper, right, lower = box
    whole = box == (0, 0, *image.size)
    if whole and scale == 1 and orientation == 1 and image.mode == "RGB" and not image.has_transparency_data:
        return image
    white = _white(image)
    width, height = round((right - left) / scale), round((lower - upper) / scale)
    upright = Image.new("RGB", (height, width) if orientation >= 5 else (width, height))
    rows = max(1, int(BAND_PIXELS / (scale * (right - left))))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = (row * (lower - upper) / height for row in (top, bottom))
        band = _on_white(image.crop((left, upper + int(first), right, upper + math.ceil(last))), white)
        part = (0, first - int(first), right - left, last - int(first))
        band = band.resize((width, bottom - top), Image.Resampling.BOX, part)
        start = height - bottom if orientation in (3, 4, 6, 7) else top
        if orientation != 1:
            band = band.transpose(TRANSPOSED[orientation])
        upright.paste(band, (start, 0) if orientation >= 5 else (0, start))
    return upright


def stored_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """A part of an upright image of this width and height, in pixels of the image as it is stored."""
    left, upper, right, lower = box
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        upper, lower = height - lower, height - upper
    return (upper, left, lower, right) if orientation >= 5 else (left, upper, right, lower)


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
    """The value that is white: integers are taken as 16-bit (as in PNG and TIFF), floats up to 1 as fractions."""
    if not image.mode.startswith("F"):
        return 65535.0
    rows = max(1, BAND_PIXELS // image.width)
    bands = (image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows))
    return 255.0 if any((np.asarray(band) > 1).any() for band in bands) else 1.0


def _to_8_bit(values: npt.NDArray[np.generic], white: float) -> npt.NDArray[np.uint8]:
    """Grey values in proportion to white as 8 bits; values beyond that range are clipped."""
    with np.errstate(over="ignore"):
        scaled = np.nan_to_num(values.astype(np.float32)) * (255.0 / white)
    return np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
