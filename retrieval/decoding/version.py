"""The version of the decoder, and which photos look different to it than to a former version."""

from collections.abc import Callable
from contextlib import suppress

from PIL import Image

from retrieval.decoding.opening import open_image
from retrieval.decoding.profiles import profile_of
from retrieval.decoding.tones import has_more_than_8_bits

# 1: before versions were recorded. 2: profiles are converted to sRGB; 16 and 32 bits are scaled as the file says.
# 3: the same pixels; capture date, camera and place are read.
VERSION = 3
COLOURS = 2  # the last version in which photos look different
HEAD = 256 << 10  # bytes at the start of a file, in which its profile begins
PROFILES = (b"ICC_PROFILE\0", b"iCCP", b"ICCP", b"colrprof", b"colrrICC")  # of JPEG, PNG, WebP, AVIF
TIFF = (b"II*\0", b"MM\0*")  # and most camera raw files


def looks_different(head: bytes, whole: Callable[[], bytes], version: int | None) -> bool:
    """Whether a photo looks different than to a former version of the decoder, by its header.

    A file without a profile that is not a TIFF looks the same; this needs no decoder.

    Args:
        head: the first bytes of the file, at most `HEAD`.
        whole: reads the whole file, if its header is longer.
        version: of the decoder that read the photo; None: version 1.
    """
    if (version or 1) >= COLOURS or not (head.startswith(TIFF) or any(mark in head for mark in PROFILES)):
        return False
    with suppress(Exception):
        return _is_changed(open_image(head))
    with suppress(Exception):  # a damaged photo keeps the vector that it has
        return _is_changed(open_image(whole()))
    return False


def _is_changed(image: Image.Image) -> bool:
    profile = profile_of(image)
    has_tones = image.format == "TIFF" and has_more_than_8_bits(image)
    return profile.transform is not None or has_tones or image.format == "RAW"
