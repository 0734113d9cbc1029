"""The decoder of trainer, indexer and web: from an encoded photo to upright 8-bit RGB."""

import io
import math
import threading
import warnings
from contextlib import nullcontext, suppress

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from retrieval import formats
from retrieval.errors import UnreadablePhoto, first_line
from retrieval.images import Crop, DecodedPhoto, ResizeRule, crop_image, fit
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy

LARGE_PIXELS = 8_000_000  # decoded at 4 bytes a pixel, a larger photo takes more than 32 MB
LARGE_AT_ONCE = 4
BAND_PIXELS = 1_000_000
BLOCK_BYTES = 64 << 20


class PhotoDecoder:
    """Decodes photos within limits of pixels and memory; the threads of an application share one."""

    def __init__(self, policy: SourcePolicy = DEFAULT_POLICY) -> None:
        self.policy = policy
        self._large = threading.BoundedSemaphore(LARGE_AT_ONCE)

    def read_pixels(self, data: bytes, rule: ResizeRule, crop: Crop | None = None) -> DecodedPhoto:
        """Decode an encoded photo and fit it to the network's input.

        Args:
            data: the content of a file in one of the formats of `retrieval.formats`; of an animation, the first frame.
            crop: only this part of the photo; None: all of it.

        Raises:
            UnreadablePhoto: its format is unknown, or it is damaged or too large.
        """
        if crop is not None:
            image = crop_image(self.decode(data), crop)
            return DecodedPhoto(fit(image, rule), *image.size)
        image, width, height = self._decode(data, 2 * rule.shorter_side if rule.antialias else None)
        return DecodedPhoto(fit(image, rule), width, height)

    def decode(self, data: bytes, enough: int | None = None) -> Image.Image:
        """Decode an encoded photo to an upright RGB image; raises as `read_pixels`.

        Its shorter side may be reduced to no less than `enough` pixels; None: it has the full size.
        """
        return self._decode(data, enough)[0]

    def _decode(self, data: bytes, enough: int | None) -> tuple[Image.Image, int, int]:
        """The image, with the width and height of the photo."""
        try:
            image = self._open(data)
            width, height = image.size
            if enough is not None:
                image.draft("RGB", (enough * width // min(width, height), enough * height // min(width, height)))
            # A progressive JPEG is held in full, even if it is decoded at a reduced size.
            held = width * height if "progressive" in image.info else image.width * image.height
            with self._large if held > LARGE_PIXELS else nullcontext():
                image.seek(0)
                image.load()
                orientation = _orientation(image)
                image = _rgb(image, enough)
        except UnreadablePhoto:
            raise
        except Image.DecompressionBombError as error:  # in a program that keeps Pillow's own limit
            raise UnreadablePhoto(f"It is too large ({first_line(error)}).") from None
        except UnidentifiedImageError:
            raise UnreadablePhoto("It is not a photo of a known format.") from None
        except Exception as error:  # every decoder has its own exceptions
            raise UnreadablePhoto(f"It is damaged or incomplete ({first_line(error)}).") from None
        if orientation == 1:
            return image, width, height
        image.getexif()[ExifTags.Base.Orientation] = orientation
        with suppress(Exception):  # the pixels are upright before Pillow writes the metadata, which may be damaged
            ImageOps.exif_transpose(image, in_place=True)
        return (image, height, width) if orientation >= 5 else (image, width, height)

    def _open(self, data: bytes) -> Image.Image:
        if not data:
            raise UnreadablePhoto("It is empty (0 bytes).")
        image = Image.open(io.BytesIO(data), formats=formats.NAMES)
        if image.width * image.height > self.policy.max_pixels:
            raise UnreadablePhoto(
                f"It has {image.width} × {image.height} pixels, more than the {self.policy.max_pixels:,} allowed.",
                "Make it smaller or raise LOOKALIKE_MAX_PIXELS.",
            )
        return image


def configure_pillow() -> None:
    """Set Pillow up for this process, in the commands of Lookalike; importing this module changes no setting.

    Pillow's own limit of pixels is turned off, as `PhotoDecoder` has one. Warnings about damaged metadata are ignored.
    Memory blocks are so large that they are returned to the system when they are freed; glibc retains blocks of
    Pillow's default size, 16 MB, for each thread.
    """
    Image.MAX_IMAGE_PIXELS = None
    Image.core.set_block_size(BLOCK_BYTES)  # type: ignore[attr-defined]
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 (upright) to 8; Pillow has turned TIFFs upright by then."""
    with suppress(Exception):  # damaged metadata is no reason to refuse a photo
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return 1


def _rgb(image: Image.Image, enough: int | None) -> Image.Image:
    """An image of any mode as RGB, transparent pixels on white, reduced if it is at least twice as large as enough.

    It is reduced band by band, so that no second image of the full size is held.
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
    """The value that is white: integers are taken as 16-bit (as in PNG and TIFF), floats up to 1 as fractions."""
    if not image.mode.startswith("F"):
        return 65535.0
    return 255.0 if (np.asarray(image) > 1).any() else 1.0


def _to_8_bit(values: npt.NDArray[np.generic], white: float) -> npt.NDArray[np.uint8]:
    """Grey values in proportion to white as 8 bits; values beyond that range are clipped."""
    with np.errstate(over="ignore"):
        scaled = np.nan_to_num(values.astype(np.float32)) * (255.0 / white)
    return np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
