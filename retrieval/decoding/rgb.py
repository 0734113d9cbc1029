"""From the pixels of a decoder to an upright image of 8 bits, without transparency.

The conversion is done in bands, so that it needs little more memory than the image and its result.
"""

import math

from PIL import Image

from retrieval.decoding.profiles import Space
from retrieval.decoding.tones import BAND_PIXELS, Tones, has_more_than_8_bits, tones_of
from retrieval.images import Box

TRANSPOSED = {  # EXIF orientation → how an image is turned upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_part(image: Image.Image, box: Box, scale: float, orientation: int, space: Space = "RGB") -> Image.Image:
    """Part of an image of any mode, upright and with 8 bits, transparent pixels on white.

    Args:
        box: the part, in pixels of the image as it is stored.
        scale: width and height of the part are divided by this number, at least 1.
        orientation: its EXIF orientation, 1 (upright) to 8.
        space: the mode of the result; a mode other than RGB only for images of this colour space.
    """
    left, upper, right, lower = box
    whole = box == (0, 0, *image.size)
    if whole and scale == 1 and orientation == 1 and image.mode == space and not image.has_transparency_data:
        return image
    tones = tones_of(image) if has_more_than_8_bits(image) else None
    width, height = round((right - left) / scale), round((lower - upper) / scale)
    upright = Image.new(space, (height, width) if orientation >= 5 else (width, height))
    rows = max(1, int(BAND_PIXELS / (scale * (right - left))))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = (row * (lower - upper) / height for row in (top, bottom))
        band = _flat(image.crop((left, upper + int(first), right, upper + math.ceil(last))), space, tones)
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


def _flat(image: Image.Image, space: Space, tones: Tones | None) -> Image.Image:
    """A band of an image in a colour space, with 8 bits and with transparent pixels on white."""
    if tones:
        image = tones.to_8_bit(image)
    elif image.has_transparency_data:
        image = _on_white(image, "LA" if space == "L" and image.mode in ("LA", "La") else "RGBA")
    return image if image.mode == space else image.convert(space)


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    image = image if image.mode == mode else image.convert(mode)
    ground = Image.new(mode.removesuffix("A"), image.size, "white")
    ground.paste(image if mode == "RGBA" else image.getchannel("L"), mask=image.getchannel("A"))
    return ground
