"""Files beyond the limits of Pillow or of the settings, and those whose decoder is an extra."""

import io
import struct
import sys
import zlib

import icc
import make
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401 - registers its encoder
import pytest
import tiffs
from PIL import Image, ImageCms, PngImagePlugin

from retrieval.decoder import PhotoDecoder
from retrieval.decoding import jpeg_xl, opening
from retrieval.errors import UnreadablePhoto
from retrieval.images import Crop, ResizeRule
from retrieval.source_policy import SourcePolicy

RULE = ResizeRule(size=32, shorter_side=32)
DECODER = PhotoDecoder()


def with_chunk(png: bytes, kind: bytes, content: bytes, place: int = 33) -> bytes:
    """A PNG with another chunk, after its header by default."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return png[:place] + struct.pack(">I", len(content)) + kind + content + checksum + png[place:]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bytes(2_000_000)),
    ],
)
def test_a_png_with_a_long_text_is_read(kind: bytes, content: bytes) -> None:
    png = make.encoded(make.photo(), "PNG")
    for place in (33, len(png) - 12):  # after the header, and before the end
        assert DECODER.decode(with_chunk(png, kind, content, place)) == DECODER.decode(png)


def test_the_orientation_in_a_text_of_a_png_is_applied() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>' + b" " * 2000
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    assert DECODER.decode(make.encoded(make.photo(size=(60, 40)), "PNG", pnginfo=text)).size == (40, 60)


def test_the_profile_of_a_png_may_be_longer_than_pillow_allows() -> None:
    image = make.photo()
    profile = icc.rgb_profile(icc.PROPHOTO, 1.8)
    png = make.encoded(image, "PNG", icc_profile=profile)
    long = profile + bytes(np.random.default_rng(0).integers(0, 256, 1_500_000, np.uint8))
    long = struct.pack(">I", len(long)) + long[4:]
    data = with_chunk(make.encoded(image, "PNG"), b"iCCP", b"long\0\0" + zlib.compress(long))
    assert DECODER.decode(data).tobytes() == DECODER.decode(png).tobytes() != image.tobytes()


@pytest.mark.parametrize("part", [None, Crop(0.25, 0.25, 0.5, 0.5)])
def test_a_baseline_jpeg_above_the_limit_is_reduced(part: Crop | None) -> None:
    image = make.photo(size=(60, 40)).resize((1200, 800))
    data, small = make.encoded(image, quality=95), PhotoDecoder(SourcePolicy(max_pixels=100_000))
    with small.open(data, crop=part) as photo:
        assert photo.image().width * photo.image().height <= 100_000
        assert (photo.width, photo.height) == ((1200, 800) if part is None else (600, 400))
    seen, expected = small.read_pixels(data, RULE, part), DECODER.read_pixels(data, RULE, part)
    assert (seen.width, seen.height) == (expected.width, expected.height)
    assert np.abs(seen.pixels.astype(int) - expected.pixels).mean() < 3


@pytest.mark.parametrize("options", [{"format": "JPEG", "progressive": True}, {"format": "PNG"}, {"format": "WEBP"}])
def test_what_cannot_be_reduced_is_refused(options: dict[str, object]) -> None:
    data = make.encoded(make.photo(size=(400, 300)), **options)
    with pytest.raises(UnreadablePhoto, match="400 × 300 pixels"):
        PhotoDecoder(SourcePolicy(max_pixels=100_000)).read_pixels(data, RULE)


def test_a_camera_raw_file_above_the_limit_is_read_if_its_preview_suffices() -> None:
    image = make.photo(size=(300, 200))
    light = np.zeros((1000, 1500, 3))
    data = tiffs.dng(light, make.encoded(image, quality=95))
    photo = PhotoDecoder(SourcePolicy(max_pixels=100_000)).read_pixels(data, RULE)
    assert (photo.width, photo.height) == (1500, 1000)
    assert photo.pixels.mean() > 50
    with pytest.raises(UnreadablePhoto, match="1500 × 1000"):
        PhotoDecoder(SourcePolicy(max_pixels=100_000)).decode(data)


def test_a_camera_raw_file_is_developed_if_its_preview_is_too_small() -> None:
    light = np.full((200, 300, 3), 0.5)
    data = tiffs.dng(light, make.encoded(Image.new("RGB", (60, 40)), quality=95))
    large = DECODER.read_pixels(data, ResizeRule(size=64, shorter_side=64))
    small = DECODER.read_pixels(data, ResizeRule(size=16, shorter_side=16))
    assert large.pixels.mean() > 100 and small.pixels.mean() < 5
    assert (large.width, large.height) == (small.width, small.height) == (300, 200)


@pytest.mark.parametrize(
    ("module", "data", "named"),
    [("rawpy", tiffs.dng(np.zeros((64, 96, 3))), "lookalike[raw]"), ("pillow_jxl", b"\xff\x0a", "lookalike[jxl]")],
)
def test_a_missing_decoder_is_named(module: str, data: bytes, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(opening.formats, "is_readable", lambda format: format.module != module)
    with pytest.raises(UnreadablePhoto) as error:
        DECODER.decode(data)
    assert named in str(error.value)


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (96, 64), (1000, 999), (513, 3), (3000, 2000), (70000, 1)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(size: tuple[int, int], orientation: int) -> None:
    assert jpeg_xl.upright_size(b"\xff\x0a" + header(*size, orientation)) == (size if orientation == 1 else size[::-1])


def header(width: int, height: int, orientation: int) -> bytes:
    """The header of a JPEG XL codestream with these numbers."""
    bits = [0, *long(height), 0, 0, 0, *long(width)]
    bits += [1] if orientation == 1 else [0, 1, *[orientation - 1 >> place & 1 for place in range(3)]]
    return np.packbits(bits, bitorder="little").tobytes()


def long(side: int) -> list[int]:
    kind = next(kind for kind, count in enumerate((9, 13, 18, 30)) if side - 1 < 1 << count)
    return [kind & 1, kind >> 1, *[side - 1 >> place & 1 for place in range((9, 13, 18, 30)[kind])]]


@pytest.mark.parametrize("encoder", ["HEIF", "JXL", "JPEG2000", "AVIF"])
def test_damage_ends_in_a_sentence(encoder: str) -> None:
    pillow_heif.register_heif_opener()
    data = make.encoded(make.photo(size=(60, 40)), encoder)
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data[: rng.integers(1, len(data))])
        for place in rng.integers(0, len(damaged), 6):
            damaged[place] = rng.integers(0, 256)
        try:
            PhotoDecoder(SourcePolicy(max_pixels=1_000_000)).read_pixels(bytes(damaged), RULE)
        except UnreadablePhoto:
            continue


def test_photos_with_a_profile_of_srgb_keep_their_pixels() -> None:
    image = make.photo()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for space in (profile, icc.rgb_profile(icc.SRGB, icc.SRGB_CURVE)):
        assert Image.open(io.BytesIO(make.encoded(image, "PNG", icc_profile=space))).info["icc_profile"] == space
        assert DECODER.decode(make.encoded(image, "PNG", icc_profile=space)).tobytes() == image.tobytes()
