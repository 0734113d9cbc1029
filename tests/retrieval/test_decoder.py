"""Photos of every kind become the right pixels, and other files are refused with a sentence."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import make
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import slow
from PIL import Image, features

from retrieval import decoder, images
from retrieval.decoder import PhotoDecoder
from retrieval.errors import UnreadablePhoto
from retrieval.images import Crop, ResizeRule
from retrieval.source_policy import SourcePolicy

RULE = ResizeRule(size=32, shorter_side=32)
RED = (200, 40, 40)
DECODER = PhotoDecoder()


def fit(image: Image.Image, rule: ResizeRule) -> np.ndarray:
    return np.asarray(images.fit(image, rule))


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return DECODER.decode(data).getpixel((x, y))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_format_is_read(format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    image = DECODER.decode(make.encoded(Image.new("RGB", (40, 30), RED), format))
    assert image.mode == "RGB"
    assert image.size == (40, 30)
    assert image.getpixel((20, 15)) == pytest.approx(RED, abs=6)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, (0, 0, 255))]
    for format in ("GIF", "WEBP", "TIFF", "PNG"):
        data = make.encoded(frames[0], format, save_all=True, append_images=frames[1:])
        assert pixel(data, 10, 10) == pytest.approx(RED, abs=8), format


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_orientation_is_applied(orientation: int) -> None:
    """A photo whose upright left upper quarter is red, stored as each of the eight orientations says."""
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste(RED, (0, 0, 32, 16))
    stored_as = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_as[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = make.encoded(stored, "JPEG", exif=exif, quality=95)
    image = DECODER.decode(data)
    assert image.size == (64, 32)
    assert image.getpixel((8, 4)) == pytest.approx(RED, abs=12)
    assert image.getpixel((56, 28)) == pytest.approx((255, 255, 255), abs=12)
    photo = DECODER.read_pixels(data, RULE)
    assert (photo.width, photo.height) == (64, 32)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_camera_data_is_no_reason_to_refuse_a_photo(exif: bytes) -> None:
    assert DECODER.decode(make.encoded(Image.new("RGB", (40, 30), RED), "JPEG", exif=exif)).size == (40, 30)


def test_transparent_pixels_lie_on_white() -> None:
    image = Image.new("RGBA", (10, 10), (200, 40, 40, 0))
    image.putpixel((0, 0), (*RED, 255))
    for format in ("PNG", "WEBP", "TIFF"):
        data = make.encoded(image, format, **({"lossless": True} if format == "WEBP" else {}))
        assert pixel(data) == RED, format
        assert pixel(data, 5, 5) == (255, 255, 255), format


def test_a_transparent_palette_lies_on_white() -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([*RED, 0, 0, 255])
    image.putpixel((0, 0), 0)
    assert pixel(make.encoded(image, "PNG", transparency=1)) == RED
    assert pixel(make.encoded(image, "PNG", transparency=1), 5, 5) == (255, 255, 255)
    assert pixel(make.encoded(image, "GIF"), 5, 5) == (0, 0, 255)


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.new("LA", (4, 4), (0, 0))
    image.putpixel((0, 0), (90, 255))
    data = make.encoded(image, "PNG")
    assert (pixel(data), pixel(data, 2, 2)) == ((90, 90, 90), (255, 255, 255))


def test_cmyk_is_turned_into_rgb() -> None:
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for format in ("JPEG", "TIFF"):
        red, green, blue = pixel(make.encoded(cmyk, format), 8, 8)
        assert red > 200, format
        assert max(green, blue) < 60, format


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_tones(format: str) -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    values = np.asarray(DECODER.decode(make.encoded(Image.fromarray(grey), format)))[..., 0]
    np.testing.assert_allclose(values, grey / 257, atol=1)


def test_floating_point_is_read_as_fractions_of_white() -> None:
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    values = np.asarray(DECODER.decode(make.encoded(Image.fromarray(grey), "TIFF")))[..., 0]
    np.testing.assert_allclose(values, grey * 255, atol=1)


def test_black_and_white_is_read() -> None:
    assert pixel(make.encoded(Image.new("1", (4, 4), 1), "PNG")) == (255, 255, 255)


def refused(data: bytes, **limits: int) -> str:
    with pytest.raises(UnreadablePhoto) as error:
        PhotoDecoder(SourcePolicy(**limits)).read_pixels(data, RULE)
    return str(error.value)


def test_what_is_no_photo_is_refused() -> None:
    assert "empty" in refused(b"")
    assert "not a photo" in refused(b"just some text, renamed .jpg")
    assert "not a photo" in refused(b"<html><body>hello</body></html>")
    assert "not a photo" in refused(b"%PDF-1.7 and so on")


def test_a_truncated_photo_is_refused() -> None:
    data = make.encoded(make.photo(size=(400, 300)), quality=95)
    assert "damaged" in refused(data[: len(data) // 2])


def test_a_bomb_is_refused_by_its_header() -> None:
    """A PNG of 30,000 × 30,000 pixels in about 200 KB: refused without decoding it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    compressor = zlib.compressobj(9)
    row = b"\0" * (30_000 // 8 + 1)
    body = b"".join(compressor.compress(row) for _ in range(30_000)) + compressor.flush()
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    assert len(data) < 250_000
    assert "30000 × 30000" in refused(data)


def test_the_pixel_limit_is_a_setting() -> None:
    data = make.encoded(make.photo(size=(101, 100)), "PNG")  # a baseline JPEG would be reduced
    assert "10,000 allowed" in refused(data, max_pixels=10_000)
    PhotoDecoder(SourcePolicy(max_pixels=10_100)).read_pixels(data, RULE)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_never_ends_in_anything_but_a_sentence(data: st.DataObject) -> None:
    """Flipped bytes and cuts in any format give pixels or `UnreadablePhoto`, nothing else."""
    format = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
    photo = bytearray(make.encoded(make.photo(size=(60, 40)), format))
    for _ in range(data.draw(st.integers(1, 8))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    try:
        cut = bytes(photo[: data.draw(st.integers(1, len(photo)))])
        pixels = PhotoDecoder(SourcePolicy(max_pixels=1_000_000)).read_pixels(cut, RULE).pixels
    except UnreadablePhoto:
        return
    assert pixels.shape == (32, 32, 3)


def test_a_large_jpeg_decoded_at_reduced_scale_looks_the_same() -> None:
    photo = make.photo(size=(1600, 1200)).resize((1600, 1200))
    data = make.encoded(photo, quality=92)
    reduced, whole = DECODER.read_pixels(data, RULE).pixels, fit(DECODER.decode(data), RULE)
    assert np.abs(reduced.astype(int) - whole).mean() < 2
    assert DECODER.read_pixels(data, RULE).width == 1600


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "I;16", "F"])
def test_a_large_photo_reduced_before_it_is_converted_looks_the_same(mode: str) -> None:
    photo = make.photo(size=(27, 21)).resize((1350, 1050))
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
    elif mode == "RGBA":
        photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    else:
        photo = photo.convert(mode)
    data = make.encoded(photo, "TIFF" if mode in ("CMYK", "F") else "PNG")
    reduced, whole = DECODER.read_pixels(data, RULE), fit(DECODER.decode(data), RULE)
    assert np.abs(reduced.pixels.astype(int) - whole).mean() < 1
    assert (reduced.width, reduced.height) == (1350, 1050)


@pytest.mark.parametrize(("orientation", "size"), [(1, (3592, 3591)), (6, (3591, 3592))])
def test_a_nearly_square_photo_keeps_its_width_and_height(orientation: int, size: tuple[int, int]) -> None:
    """At an eighth of its size, as the decoder gives it, this one is square."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = DECODER.read_pixels(make.encoded(Image.new("RGB", (3592, 3591), RED), exif=exif), RULE)
    assert (photo.width, photo.height) == size


PEAK = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from retrieval.decoder import PhotoDecoder, configure_pillow
from retrieval.images import Crop, ResizeRule
configure_pillow()
decoder = PhotoDecoder()
rule = ResizeRule(size=224, shorter_side=256)
path, photos, *crop = sys.argv[1:]
crop = Crop(*map(float, crop)) if crop else None
def read(path): return decoder.read_pixels(Path(path).read_bytes(), rule, crop).width
print(*ThreadPoolExecutor(8).map(read, [path] * int(photos)), file=sys.stderr)
kilobytes = re.findall(r"Vm(?:HWM|RSS):\\s+(\\d+)", Path("/proc/self/status").read_text())
print(*(int(number) // 1024 for number in kilobytes))
"""
WHOLE, MIDDLE = ("0", "0", "1", "1"), ("0.1", "0.1", "0.8", "0.8")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its own peak")
@pytest.mark.parametrize(
    ("mode", "side", "photos", "crop", "megabytes"),
    [
        ("RGBA", 4000, 8, (), 450),
        slow("RGBA", 4000, 8, MIDDLE, 450),
        slow("RGBA", 8000, 2, (), 450),
        slow("RGBA", 8000, 2, WHOLE, 450),
        slow("RGBA", 8000, 2, MIDDLE, 450),
        slow("RGB", 8000, 2, MIDDLE, 450),
        slow("P", 8000, 2, (), 450),
        slow("P", 8000, 2, MIDDLE, 450),
        slow("F", 8000, 2, (), 450),
    ],
)
def test_large_photos_take_little_more_memory_than_their_pixels(
    tmp_path: Path, mode: str, side: int, photos: int, crop: tuple[str, ...], megabytes: int
) -> None:
    """One of 64 megapixels has 256 MB of pixels, which photos read at the same time may take together.

    Two of them would already exceed the limit if they were read at the same time.

    Afterwards the memory goes back to the system.
    """
    path = tmp_path / "large"
    if mode == "P":
        image = Image.new("P", (side, side), 1)
        image.putpalette([*RED, 0, 0, 255])
        image.save(path, "PNG", transparency=1)
    elif mode == "F":
        Image.new("F", (side, side), 0.5).save(path, "TIFF", compression="tiff_lzw")
    else:
        Image.new(mode, (side, side), (*RED, 128)[: len(mode)]).save(path, "PNG")
    command = [sys.executable, "-c", PEAK, str(path), str(photos), *crop]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, left = map(int, ran.stdout.split())
    assert peak < megabytes and left < 150, (peak, left)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_is_a_part_of_the_upright_photo(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = make.encoded(make.photo(size=(130, 70)), "PNG", exif=exif)
    upright = DECODER.decode(data)
    crop = Crop(0.1, 0.2, 0.5, 0.4)
    box = (int(0.1 * upright.width), int(0.2 * upright.height), round(0.6 * upright.width), round(0.6 * upright.height))
    photo = DECODER.read_pixels(data, RULE, crop)
    np.testing.assert_array_equal(photo.pixels, fit(upright.crop(box), RULE))
    assert (photo.width, photo.height) == (box[2] - box[0], box[3] - box[1])


def test_a_large_crop_that_is_reduced_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make.encoded(make.photo(size=(27, 21)).resize((1350, 1050)), "PNG")
    crop = Crop(0.1, 0.1, 0.8, 0.8)
    whole = DECODER.read_pixels(data, RULE, crop)
    monkeypatch.setattr(decoder, "LARGE_CROP", 100_000)
    reduced = DECODER.read_pixels(data, RULE, crop)
    assert np.abs(reduced.pixels.astype(int) - whole.pixels).mean() < 1
    assert (reduced.width, reduced.height) == (whole.width, whole.height) == (1080, 840)


def test_a_part_of_a_photo_is_read_alone() -> None:
    image = Image.new("RGB", (200, 100), "white")
    image.paste(RED, (100, 50, 200, 100))
    part = DECODER.read_pixels(make.encoded(image, "PNG"), RULE, crop=Crop(0.5, 0.5, 0.5, 0.5))
    np.testing.assert_array_equal(part.pixels, np.broadcast_to(RED, (32, 32, 3)))
    sliver = DECODER.read_pixels(make.encoded(image, "PNG"), RULE, crop=Crop(0.999, 0.999, 0.0001, 0.0001))
    np.testing.assert_array_equal(sliver.pixels, np.broadcast_to(RED, (32, 32, 3)))


def test_real_photos_are_read(flowers: Path) -> None:
    for path in sorted(flowers.glob("*/*.jpg"))[::50]:
        photo = DECODER.read_pixels(path.read_bytes(), ResizeRule(size=224, shorter_side=256))
        assert photo.pixels.shape == (224, 224, 3)
        assert max(photo.width, photo.height) <= 384


def test_a_program_that_imports_us_keeps_its_settings_of_pillow() -> None:
    code = (
        "import warnings, numpy, pydantic; from PIL import Image; state = lambda: "
        "(Image.MAX_IMAGE_PIXELS, Image.core.get_block_size(), list(warnings.filters)); before = state(); "
        "import io, retrieval.decoder; from retrieval.errors import UnreadablePhoto; file = io.BytesIO(); "
        "Image.new('1', (20_000, 10_000)).save(file, 'PNG')\n"
        "try: retrieval.decoder.PhotoDecoder().decode(file.getvalue())\n"
        "except UnreadablePhoto as error: print(error)\n"
        "assert state() == before, state()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("It is too large (Image size (200000000 pixels) exceeds limit")
