"""Embedded colour profiles: the conversion of decoded pixels to sRGB, with Little CMS."""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

Space = Literal["RGB", "L", "CMYK", "LAB"]

SPACES: dict[bytes, Space] = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # of profiles → mode in Pillow
ALIKE = 2  # colours that no channel changes by more are left as they are: the profile is one of the many of sRGB
KEPT = 8  # conversions in memory


@dataclass(frozen=True, slots=True)
class ColourProfile:
    """The colours of a photo.

    `space` is the mode that `to_srgb` expects. `is_ignored` says that the photo has a profile that is damaged, or is
    not for images of this kind, such as a CMYK profile in an RGB photo.
    """

    space: Space = "RGB"
    transform: ImageCms.ImageCmsTransform | None = None  # None: the pixels are sRGB
    is_ignored: bool = False

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """Convert an image of the mode `space` to sRGB."""
        if self.transform is None:
            return image
        return ImageCms.applyTransform(image, self.transform) or image


SRGB = ColourProfile()


def profile_of(image: Image.Image) -> ColourProfile:
    """The colour profile of an opened or loaded image."""
    space = _space(image.mode)
    if space == "LAB":
        return ColourProfile(space, _from_lab())
    data = image.info.get("icc_profile")
    if not data:
        return SRGB
    if SPACES.get(bytes(data[16:20])) != space:
        return ColourProfile(is_ignored=True)
    try:
        transform = _transform(bytes(data), space)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return ColourProfile(is_ignored=True)
    return ColourProfile(space, transform) if transform else SRGB


def _space(mode: str) -> Space:
    """The colour space of an image of a mode in Pillow."""
    if mode in ("CMYK", "LAB"):
        return mode  # type: ignore[return-value]
    return "L" if mode in ("1", "L", "LA", "La", "F") or mode.startswith("I") else "RGB"


@lru_cache(KEPT)
def _transform(profile: bytes, space: Space) -> ImageCms.ImageCmsTransform | None:
    """The transform of a profile to sRGB, or None if it changes no colour visibly."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        space,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return None if space != "CMYK" and _is_srgb(transform, space) else transform


def _is_srgb(transform: ImageCms.ImageCmsTransform, space: Space) -> bool:
    levels = np.linspace(0, 255, 16).round().astype(np.uint8)
    if space == "L":
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        before, expected = Image.fromarray(grey), np.repeat(grey[..., None], 3, axis=2)
    else:
        expected = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
        before = Image.fromarray(expected)
    after = ImageCms.applyTransform(before, transform)
    return after is not None and int(np.abs(np.asarray(after, np.int16) - expected).max()) <= ALIKE


@lru_cache(1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"),
        ImageCms.createProfile("sRGB"),
        "LAB",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
