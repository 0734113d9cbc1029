"""The decoder of trainer, indexer and web: from an encoded photo to upright 8-bit RGB."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from retrieval import formats
from retrieval.byte_budget import ByteBudget
from retrieval.errors import UnreadablePhoto, first_line
from retrieval.images import Crop, DecodedPhoto, ResizeRule, crop_box, fit
from retrieval.rgb import stored_box, upright_rgb
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy

LARGE_CROP = 25_000_000  # pixels
BLOCK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class UprightPhoto:
    """An upright RGB image of a photo, or of a part of it, and the width and height that it has in full size."""

    image: Image.Image
    width: int
    height: int


class PhotoDecoder:
    """Decodes photos within limits of pixels and memory; the threads of an application share one."""

    def __init__(self, policy: SourcePolicy = DEFAULT_POLICY) -> None:
        self.policy = policy
        self._budget = ByteBudget(policy.decoding_bytes)

    def read_pixels(self, data: bytes, rule: ResizeRule, crop: Crop | None = None) -> DecodedPhoto:
        """Decode an encoded photo and fit it to the network's input.

        Args:
            data: the content of a file in one of the formats of `retrieval.formats`; of an animation, the first frame.
            crop: only this part of the photo; None: all of it.

        Raises:
            UnreadablePhoto: its format is unknown, or it is damaged or too large.
        """
        with self.open(data, 2 * rule.shorter_side if rule.antialias else None, crop) as photo:
            return DecodedPhoto(fit(photo.image, rule), photo.width, photo.height)

    def decode(self, data: bytes) -> Image.Image:
        """Decode an encoded photo to an upright RGB image of its full size; raises as `read_pixels`.

        The memory of the image no longer counts once it is returned; `open` limits the memory while it is used, too.
        """
        with self.open(data) as photo:
            return photo.image

    @contextmanager
    def open(self, data: bytes, enough: int | None = None, crop: Crop | None = None) -> Iterator[UprightPhoto]:
        """Decode an encoded photo; raises as `read_pixels`.

        The photos that are open at the same time, including what decoding, cropping and rotating them takes, use no
        more than `policy.decoding_bytes`; a larger photo is opened alone.

        Args:
            enough: the shorter side may be reduced to no less than this number of pixels; None: the full size. A crop
                of at most 25 megapixels always has the full size.
            crop: only this part of the photo; None: all of it.
        """
        with _reading():
            image = self._opened(data)
            width, height = image.size
            if enough is not None and crop is None:
                image.draft("RGB", (enough * width // min(width, height), enough * height // min(width, height)))
            needed = len(data) + _needed_bytes(image, (width, height), enough, crop)
        with self._budget.use(needed):
            with _reading():
                photo = _upright(image, (width, height), enough, crop)
            del image  # its pixels are freed, unless they are those of the photo
            yield photo

    def _opened(self, data: bytes) -> Image.Image:
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


@contextmanager
def _reading() -> Iterator[None]:
    """Within the context, raise every error of a decoder as `UnreadablePhoto`."""
    try:
        yield
    except UnreadablePhoto:
        raise
    except Image.DecompressionBombError as error:  # in a program that keeps Pillow's own limit
        raise UnreadablePhoto(f"It is too large ({first_line(error)}).") from None
    except UnidentifiedImageError:
        raise UnreadablePhoto("It is not a photo of a known format.") from None
    except Exception as error:  # every decoder has its own exceptions
        raise UnreadablePhoto(f"It is damaged or incomplete ({first_line(error)}).") from None


def _needed_bytes(image: Image.Image, size: tuple[int, int], enough: int | None, crop: Crop | None) -> int:
    """The memory that a photo of this full size takes: its decoded image, the decoder's buffers and the RGB image."""
    decoded, full = image.width * image.height, size[0] * size[1]
    buffers = formats.by_name(image.format).buffers * full
    if "progressive" in image.info:  # libjpeg holds all coefficients, even if it reduces the photo
        buffers += 2 * len(image.getbands()) * full
    if crop is not None:
        converted = int(crop.width * crop.height * full)
    else:
        converted = int(decoded / _scale(*image.size, enough) ** 2)
    return buffers + _bytes_per_pixel(image.mode) * decoded + 4 * converted


def _bytes_per_pixel(mode: str) -> int:
    """The memory of a pixel in an image of Pillow."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _upright(image: Image.Image, size: tuple[int, int], enough: int | None, crop: Crop | None) -> UprightPhoto:
    """Load an opened image of this full size; see `PhotoDecoder.open`."""
    image.seek(0)
    image.load()
    orientation = _orientation(image)
    if crop is None:
        scale = _scale(*image.size, enough)
        rgb = upright_rgb(image, (0, 0, *image.size), scale, orientation)
        return UprightPhoto(rgb, *_turned(size, orientation))
    upright = _turned(image.size, orientation)
    left, upper, right, lower = box = crop_box(crop, *upright)
    width, height = right - left, lower - upper
    scale = _scale(width, height, enough) if width * height > LARGE_CROP else 1
    return UprightPhoto(upright_rgb(image, stored_box(box, *upright, orientation), scale, orientation), width, height)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 (upright) to 8; Pillow has turned TIFFs upright by then."""
    with suppress(Exception):  # damaged metadata is no reason to refuse a photo
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return 1


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The upright width and height of a photo that is stored with an EXIF orientation."""
    return size if orientation < 5 else (size[1], size[0])


def _scale(width: int, height: int, enough: int | None) -> float:
    """The factor by which an image is reduced so that its shorter side is enough; 1 if that is less than 2."""
    shorter = min(width, height)
    return 1 if enough is None or shorter < 2 * enough else shorter / enough
