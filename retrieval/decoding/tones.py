"""Grey values of 16 and 32 bits, integers and floats, as 8 bits."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from retrieval.images import Box

BAND_PIXELS = 1_000_000
UNSIGNED, SIGNED = 1, 2  # SampleFormat of TIFF
MIN_IS_WHITE = 0  # PhotometricInterpretation of TIFF
# Values that may stand for white if the file does not say how many bits are used: fewer bits than a sample has.
WHITES_OF_16_BITS = (1023, 4095)
WHITES_OF_32_BITS = (255, 1023, 4095, 16383, 65535)
# Above white, a float photo has at most this share of it, such as ringing of a filter.
OVERSHOOT = 1.5
# A smaller share of white below zero is taken for noise, a larger one for values around zero.
UNDERSHOOT = 1 / 16


@dataclass(frozen=True, slots=True)
class Tones:
    """How the values of an image with more than 8 bits become grey tones."""

    black: float
    white: float
    is_unsigned_32: bool = False  # Pillow gives such values as signed ones

    def to_8_bit(self, band: Image.Image) -> Image.Image:
        """Convert a band of the image; values beyond black and white are clipped."""
        values = _values(band, self.is_unsigned_32).astype(np.float32)
        with np.errstate(over="ignore"):
            scaled = (np.nan_to_num(values) - self.black) * (255.0 / (self.white - self.black))
        return Image.fromarray(np.clip(scaled + 0.5, 0, 255).astype(np.uint8))


def has_more_than_8_bits(image: Image.Image) -> bool:
    """Whether the pixels of an image are single values of 16 or 32 bits."""
    return image.mode.startswith(("I", "F"))


def tones_of(image: Image.Image) -> Tones:
    """The tones of a loaded image of the mode I, I;16 or F.

    A TIFF says how many bits a sample has, and whether it is signed, unsigned or a float (`BitsPerSample`,
    `SampleFormat`); often fewer bits are used, which `MaxSampleValue` or the largest value tells. Other formats use
    all of their 16 bits. Floats up to 1 are fractions of white. If many values are negative, zero is the middle grey.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    kind = tags.get(ExifTags.Base.SampleFormat, (UNSIGNED,))[0]
    is_unsigned_32 = bool(tags) and image.mode == "I" and (bits, kind) == (32, UNSIGNED)
    if tags or image.mode.startswith("F"):
        low, high = _range(image, is_unsigned_32)
        largest = tags.get(ExifTags.Base.MaxSampleValue)
        white = float(largest[0] if isinstance(largest, tuple) else largest) if largest else 0.0
        if not low < high <= white:
            white = _white(image.mode, bits, kind, high)
        black = -white if low < -UNDERSHOOT * white else 0.0
    else:
        black, white = 0.0, 65535.0
    if tags.get(ExifTags.Base.PhotometricInterpretation) == MIN_IS_WHITE:
        black, white = white, black
    return Tones(black, white, is_unsigned_32)


def _white(mode: str, bits: int, kind: int, high: float) -> float:
    """The value of white in a TIFF whose largest value is `high`."""
    if mode.startswith("F"):
        if high <= OVERSHOOT:
            return 1.0
        return next((float(white) for white in WHITES_OF_32_BITS if high <= white), high)
    most = 2.0 ** (bits - (kind == SIGNED)) - 1
    usual = {16: WHITES_OF_16_BITS, 32: WHITES_OF_32_BITS}.get(bits, ())
    return next((float(white) for white in usual if high <= white), most)


def _range(image: Image.Image, is_unsigned_32: bool) -> tuple[float, float]:
    """The least and the greatest finite value of an image."""
    low, high = math.inf, -math.inf
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        box: Box = (0, top, image.width, min(top + rows, image.height))
        values = _values(image.crop(box), is_unsigned_32)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _values(image: Image.Image, is_unsigned_32: bool) -> npt.NDArray[np.generic]:
    values = np.asarray(image)
    return values.view(np.uint32) if is_unsigned_32 else values
