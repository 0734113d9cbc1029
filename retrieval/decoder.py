"""The decoder of trainer, indexer and web: from an encoded photo to upright 8-bit sRGB."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from retrieval.decoding.byte_budget import ByteBudget
from retrieval.decoding.opening import decoder_bytes, full_size, is_progressive, open_image
from retrieval.decoding.profiles import ColourProfile, profile_of
from retrieval.decoding.rgb import stored_box, upright_part
from retrieval.errors import UnreadablePhoto, first_line
from retrieval.formats import ImageFormat, by_name
from retrieval.images import Crop, DecodedPhoto, ResizeRule, crop_box, fit, pad
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy

LARGE_CROP = 25_000_000  # pixels
BLOCK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class UprightPhoto:
    """An upright photo, or a part of it, and the width and height that it has in full size.

    Its pixels are converted to sRGB when they are used; that takes longer than reducing them, so `fit` and `within`
    reduce them first.
    """

    pixels: Image.Image  # 8 bits, in the colour space of the profile
    profile: ColourProfile
    width: int
    height: int
    format: ImageFormat

    def image(self) -> Image.Image:
        """The photo as sRGB."""
        return self.profile.to_srgb(self.pixels)

    def within(self, side: int) -> Image.Image:
        """The photo as sRGB with no side longer than `side` pixels."""
        image = self.pixels
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return self.profile.to_srgb(image)

    def fit(self, rule: ResizeRule) -> npt.NDArray[np.uint8]:
        """The photo as the network's input, uint8 [size, size, 3]."""
        return np.asarray(pad(self.profile.to_srgb(fit(self.pixels, rule)), rule))


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
            return DecodedPhoto(photo.fit(rule), photo.width, photo.height, photo.profile.is_ignored)

    def decode(self, data: bytes) -> Image.Image:
        """Decode an encoded photo to an upright sRGB image of its full size; raises as `read_pixels`.

        The memory of the image no longer counts once it is returned; `open` limits the memory while it is used, too.
        """
        with self.open(data) as photo:
            return photo.image()

    @contextmanager
    def open(self, data: bytes, enough: int | None = None, crop: Crop | None = None) -> Iterator[UprightPhoto]:
        """Decode an encoded photo; raises as `read_pixels`.

        The photos that are open at the same time, including what decoding, cropping and rotating them takes, use no
        more than `policy.decoding_bytes`; a larger photo is opened alone.

        Args:
            enough: the shorter side may be reduced to no less than this number of pixels; None: the full size. A crop
                of at most 25 megapixels always has the full size. A baseline JPEG with more than `policy.max_pixels`
                is always reduced, and a camera raw file is opened as its preview if that is large enough.
            crop: only this part of the photo; None: all of it.
        """
        with _reading():
            image = open_image(data)
            size = self._reduce(image, enough if crop is None else None)
            needed = len(data) + _needed_bytes(image, size, enough, crop)
        with self._budget.use(needed):
            with _reading():
                photo = _upright(image, size, enough, crop)
            del image  # its pixels are freed, unless they are those of the photo
            yield photo

    def _reduce(self, image: Image.Image, enough: int | None) -> tuple[int, int]:
        """Let the decoder reduce an opened image, if it can, and return its full size; raises if it is too large."""
        width, height = wanted = full_size(image)
        limit = self.policy.max_pixels
        if enough is not None:
            shorter = min(width, height)
            wanted = enough * width // shorter, enough * height // shorter
        if image.format in ("JPEG", "MPO") and not is_progressive(image):
            scale = next((scale for scale in (1, 2, 4, 8) if width * height <= limit * scale**2), 8)
            wanted = min(wanted[0], width // scale), min(wanted[1], height // scale)
        elif image.format != "RAW" and width * height > limit:
            raise _too_large(width, height, limit)
        if wanted != (width, height):
            image.draft("RGB", wanted)  # has an effect only once
        if image.width * image.height > limit:
            raise _too_large(width, height, limit)
        return full_size(image) if image.format == "RAW" else (width, height)


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
    except Exception as error:  # every decoder has its own exceptions
        raise UnreadablePhoto(f"It is damaged or incomplete ({first_line(error)}).") from None


def _too_large(width: int, height: int, limit: int) -> UnreadablePhoto:
    return UnreadablePhoto(
        f"It has {width} × {height} pixels, more than the {limit:,} allowed.",
        "Make it smaller or raise LOOKALIKE_MAX_PIXELS.",
    )


def _needed_bytes(image: Image.Image, size: tuple[int, int], enough: int | None, crop: Crop | None) -> int:
    """The memory that a photo of this full size takes: its decoded image, the decoder's buffers and the RGB image."""
    decoded, full = image.width * image.height, size[0] * size[1]
    if crop is not None:
        converted = int(crop.width * crop.height * decoded)
    else:
        converted = int(decoded / _scale(*image.size, enough) ** 2)
    results = 2 if "icc_profile" in image.info else 1  # before and after the conversion to sRGB
    return decoder_bytes(image, full) + _bytes_per_pixel(image.mode) * decoded + 4 * results * converted


def _bytes_per_pixel(mode: str) -> int:
    """The memory of a pixel in an image of Pillow."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _upright(image: Image.Image, size: tuple[int, int], enough: int | None, crop: Crop | None) -> UprightPhoto:
    """Load an opened image of this full size; see `PhotoDecoder.open`."""
    image.seek(0)
    image.load()
    orientation, profile, format = _orientation(image), profile_of(image), by_name(image.format)
    if crop is None:
        scale = _scale(*image.size, enough)
        pixels = upright_part(image, (0, 0, *image.size), scale, orientation, profile.space)
        return UprightPhoto(pixels, profile, *_turned(size, orientation), format)
    upright = _turned(image.size, orientation)
    left, upper, right, lower = box = crop_box(crop, *upright)
    scale = _scale(right - left, lower - upper, enough) if (right - left) * (lower - upper) > LARGE_CROP else 1
    pixels = upright_part(image, stored_box(box, *upright, orientation), scale, orientation, profile.space)
    left, upper, right, lower = crop_box(crop, *_turned(size, orientation))
    return UprightPhoto(pixels, profile, right - left, lower - upper, format)


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
