"""The image formats that are read: the one table of their names, suffixes and media types."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image format."""

    name: str  # its name in Pillow
    title: str  # its name for people
    suffixes: tuple[str, ...]  # of its files, in lower case; the first one is given to uploads
    media_type: str
    is_shown: bool = True  # whether browsers display it; other files are offered as downloads, with a JPEG as thumbnail
    buffers: int = 0  # bytes per pixel that its decoder uses besides the image, measured with 4000 × 4000 pixels


FORMATS = (
    ImageFormat("JPEG", "JPEG", (".jpg", ".jpeg", ".jfif"), "image/jpeg"),
    ImageFormat("PNG", "PNG", (".png",), "image/png"),
    ImageFormat("WEBP", "WebP", (".webp",), "image/webp", buffers=13),
    ImageFormat("GIF", "GIF", (".gif",), "image/gif"),
    ImageFormat("BMP", "BMP", (".bmp",), "image/bmp"),
    ImageFormat("TIFF", "TIFF", (".tif", ".tiff"), "image/tiff", is_shown=False, buffers=5),
    ImageFormat("AVIF", "AVIF", (".avif",), "image/avif", buffers=9),
)
NAMES = tuple(format.name for format in FORMATS)
LISTED = ", ".join(format.title for format in FORMATS[:-1]) + f" or {FORMATS[-1].title}"

_BY_NAME = {format.name: format for format in FORMATS}
_BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}


def by_name(name: str | None) -> ImageFormat:
    """The format of this name in Pillow; raises `KeyError` if the table has none."""
    return _BY_NAME[name or ""]


def by_file_name(name: str) -> ImageFormat | None:
    """The format that a file name's suffix stands for, or None if no format has that suffix."""
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower())
