"""The image formats that are read: the one table of their names, suffixes and media types."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image format."""

    name: str  # the name that Pillow or its plug-in gives it
    title: str  # its name for people
    suffixes: tuple[str, ...]  # of its files, in lower case; the first one is given to uploads
    media_type: str
    is_shown: bool = True  # whether browsers display it; the page shows other files as JPEG renditions
    buffers: int = 0  # bytes per pixel that its decoder uses besides the image, as measured
    module: str = "PIL"  # the package that decodes it
    extra: str | None = None  # the extra of Lookalike that installs that package; None: always installed


RAW_SUFFIXES = (
    *(".dng", ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
ALL_FORMATS = (
    ImageFormat("JPEG", "JPEG", (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo"), "image/jpeg"),
    ImageFormat("PNG", "PNG", (".png", ".apng"), "image/png"),
    ImageFormat("WEBP", "WebP", (".webp",), "image/webp", buffers=13),
    ImageFormat("GIF", "GIF", (".gif",), "image/gif"),
    ImageFormat("BMP", "BMP", (".bmp",), "image/bmp"),
    ImageFormat("TIFF", "TIFF", (".tif", ".tiff"), "image/tiff", is_shown=False, buffers=5),
    ImageFormat("AVIF", "AVIF", (".avif",), "image/avif", buffers=9),
    ImageFormat("HEIF", "HEIC", (".heic", ".heif", ".hif"), "image/heif", is_shown=False, buffers=7, module="pi_heif"),
    ImageFormat(
        "JPEG2000",
        "JPEG 2000",
        (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        "image/jp2",
        is_shown=False,
        buffers=16,
    ),
    ImageFormat("JXL", "JPEG XL", (".jxl",), "image/jxl", is_shown=False, buffers=8, module="pillow_jxl", extra="jxl"),
    ImageFormat(
        "RAW",
        "camera raw",
        RAW_SUFFIXES,
        "image/x-raw",
        is_shown=False,
        module="rawpy",
        extra="raw",
    ),
)
FORMATS = tuple(format for format in ALL_FORMATS if find_spec(format.module))
LISTED = ", ".join(format.title for format in FORMATS[:-1]) + f" or {FORMATS[-1].title}"
# For a file chooser: `image/*`, and the suffixes of formats that many systems don't take for images.
ACCEPTED = ",".join(["image/*", *(suffix for format in FORMATS if not format.is_shown for suffix in format.suffixes)])

_BY_NAME = {format.name: format for format in ALL_FORMATS}
_BY_NAME["MPO"] = _BY_NAME["JPEG"]  # a JPEG followed by other pictures, such as the second one of a stereo camera
_BY_SUFFIX = {suffix: format for format in FORMATS for suffix in format.suffixes}


def by_name(name: str | None) -> ImageFormat:
    """The format that Pillow or a plug-in gives this name; raises `KeyError` if the table has none."""
    return _BY_NAME[name or ""]


def by_file_name(name: str) -> ImageFormat | None:
    """The format that a file name's suffix stands for, or None if no format that can be read has that suffix."""
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower())


def raw_beside_jpeg(names: Sequence[str]) -> set[str]:
    """The names of the camera raw files of a folder that have a JPEG of the same name beside them."""
    raw = [name for name in names if name.lower().endswith(RAW_SUFFIXES)]
    if not raw:
        return set()
    jpegs = {os.path.splitext(name)[0] for name in names if name.lower().endswith(_BY_NAME["JPEG"].suffixes)}
    return {name for name in raw if os.path.splitext(name)[0] in jpegs}


def is_readable(format: ImageFormat) -> bool:
    """Whether the package that decodes a format is installed."""
    return format in FORMATS
