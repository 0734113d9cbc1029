"""Which photos look different to this version of the decoder than to the first one."""

import icc
import make
import numpy as np
import pytest
import tiffs
from PIL import Image, ImageCms

from retrieval.decoding import version

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WIDE = icc.rgb_profile(icc.DISPLAY_P3, icc.SRGB_CURVE)


def looks_different(data: bytes, read_by: int | None = None, head: int = version.HEAD) -> bool:
    return version.looks_different(data[:head], lambda: data, read_by)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_photo_with_another_profile_than_srgb_looks_different(format: str) -> None:
    data = make.encoded(make.photo(), format, icc_profile=WIDE)
    assert looks_different(data) and looks_different(data, 1)
    assert not looks_different(data, version.VERSION)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"])
def test_other_photos_of_8_bits_look_the_same(format: str) -> None:
    assert not looks_different(make.encoded(make.photo(), format))
    assert format in ("GIF", "BMP") or not looks_different(make.encoded(make.photo(), format, icc_profile=SRGB))


def test_a_photo_without_a_profile_is_not_read_again() -> None:
    def read() -> bytes:
        raise AssertionError

    data = make.encoded(make.photo(size=(900, 700)), "PNG")
    assert not version.looks_different(data[:5000], read, None)


def test_the_whole_file_is_read_if_the_header_is_longer() -> None:
    assert looks_different(make.encoded(make.photo(), "WEBP", icc_profile=WIDE), head=1000)
    values = np.zeros((64, 96), np.uint16)
    assert looks_different(tiffs.tiff(values), head=20)


def test_tones_of_a_tiff_and_camera_raw_files_look_different() -> None:
    grey = np.linspace(0, 65535, 64 * 96).reshape(64, 96).astype(np.uint16)
    assert looks_different(tiffs.tiff(grey))
    assert looks_different(tiffs.dng(np.zeros((64, 96, 3))))
    assert not looks_different(make.encoded(Image.fromarray(grey), "PNG"))


def test_a_damaged_photo_keeps_its_vector() -> None:
    assert not looks_different(b"II*\0 and so on")
    assert not looks_different(b"")
