"""Files of every kind look as another decoder shows them, or as the pixels of which they were made, and are upright.

The other decoders are `heif-convert` (libheif), `djxl` and `cjxl` (libjxl) and `dcraw_emu` (LibRaw); the cases that
need one are skipped if it is not installed. Colours of profiles are computed by hand (`icc.py`).
"""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import icc
import make
import numpy as np
import numpy.typing as npt
import pillow_heif
import pillow_jxl  # noqa: F401 - registers its encoder
import pytest
import tiffs
from PIL import Image

from retrieval.decoder import PhotoDecoder
from retrieval.decoding.tones import WHITES_OF_16_BITS
from retrieval.images import ResizeRule

Pixels = npt.NDArray[np.generic]
LARGEST_DIFFERENCE = 2.0  # ΔE*ab, the mean of all pixels
FAST = 5  # every fifth case runs without `-m slow`
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
CODECS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
    "JXL": {},
}
SPACES = {
    "Display P3": (icc.DISPLAY_P3, icc.SRGB_CURVE),
    "Adobe RGB": (icc.ADOBE_RGB, 2.2),
    "ProPhoto": (icc.PROPHOTO, 1.8),
}


@dataclass(frozen=True)
class File:
    """An encoded photo, and how to get the sRGB pixels that it shows; the file is written to the path given."""

    data: bytes
    expected: Callable[[Path], Pixels]
    suffix: str = ""


CASES: dict[str, Callable[[], File]] = {}


def picture() -> Image.Image:
    """Smooth colours without symmetry."""
    pillow_heif.register_heif_opener()
    colours = np.random.default_rng(7).integers(20, 236, (4, 6, 3)).astype(np.uint8)
    return Image.fromarray(colours).resize((96, 64), Image.Resampling.BICUBIC)


def grey() -> npt.NDArray[np.float64]:
    """Grey tones from 0 to 1."""
    return np.linspace(0, 1, 96 * 64).reshape(64, 96)


def rgb(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def as_grey(tones: npt.NDArray[np.float64]) -> Pixels:
    return np.repeat((tones * 255)[..., None], 3, -1)


def stored(image: Image.Image, orientation: int) -> Image.Image:
    """An upright image as a camera with this orientation stores it."""
    turn = STORED_AS[orientation]
    return image if turn is None else image.transpose(turn)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def shown_by(*command: str, output: str = "shown.png") -> Callable[[Path], Pixels]:
    """The pixels that a program writes to a file; FILE and OUTPUT stand for its arguments."""

    def read(path: Path) -> Pixels:
        if not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed")
        target = path.with_name(output)
        names = {"FILE": path, "OUTPUT": target}
        subprocess.run([names.get(word, word) for word in command], check=True, capture_output=True)
        image = Image.open(target)
        return as_grey(np.asarray(image) / 65535) if image.mode == "I;16" else on_white(image)

    return read


def on_white(image: Image.Image) -> Pixels:
    ground = Image.new("RGBA", image.size, "white")
    return rgb(Image.alpha_composite(ground, image.convert("RGBA")))


HEIF_CONVERT = shown_by("heif-convert", "FILE", "OUTPUT")
DJXL = shown_by("djxl", "FILE", "OUTPUT")
DCRAW = shown_by("dcraw_emu", "-w", "-T", "FILE", output="photo.dng.tiff")


def case(name: str, make_file: Callable[[], File]) -> None:
    assert name not in CASES
    CASES[name] = make_file


def converted(mode: str) -> Image.Image:
    image = picture()
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def heic(mode: str, orientation: int = 1, **options: object) -> File:
    image = stored(converted(mode), orientation)
    data = make.encoded(image, "HEIF", exif=exif(orientation), **{"quality": 90} | options)
    return File(data, HEIF_CONVERT, ".heic")


def ten_bits() -> File:
    samples = (np.asarray(picture(), np.uint16) * 257).tobytes()
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", (96, 64), samples, file, quality=90, save_to_12bit=False)
    return File(file.getvalue(), HEIF_CONVERT, ".heic")


def jpeg_xl(mode: str, **options: object) -> File:
    return File(make.encoded(converted(mode), "JXL", **options), DJXL, ".jxl")


def jpeg_xl_16_bits(option: str) -> File:
    png = make.encoded(Image.fromarray(np.round(grey() * 65535).astype(np.uint16)), "PNG")
    return File(made_by_cjxl(png, ".png", option), DJXL, ".jxl")


def recompressed_jpeg(orientation: int) -> File:
    """A JPEG XL file that holds a JPEG."""
    jpeg = make.encoded(stored(picture(), orientation), exif=exif(orientation), quality=95)
    return File(made_by_cjxl(jpeg, ".jpg", "--lossless_jpeg=1"), DJXL, ".jxl")


def made_by_cjxl(data: bytes, suffix: str, option: str) -> bytes:
    if not shutil.which("cjxl"):
        pytest.skip("cjxl is not installed")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"photo{suffix}"), Path(folder, "photo.jxl")
        source.write_bytes(data)
        subprocess.run(["cjxl", option, source, target], capture_output=True, check=True)
        return target.read_bytes()


def jpeg_2000(mode: str, **options: object) -> File:
    if mode == "I;16":
        values = np.round(grey() * 65535).astype(np.uint16)
        return File(make.encoded(Image.fromarray(values), "JPEG2000", **options), lambda _: as_grey(grey()))
    image = converted(mode)
    return File(make.encoded(image, "JPEG2000", **options), lambda _: on_white(image))


def turned(format: str, orientation: int) -> File:
    image = picture()
    options = CODECS[format] | ({"exif": exif(orientation)} if orientation > 1 else {})
    return File(make.encoded(stored(image, orientation), format, **options), lambda _: rgb(image))


def profiled(format: str, space: str) -> File:
    primaries, gamma = SPACES[space]
    image = picture()
    profile = icc.rgb_profile(primaries, gamma)
    if format == "JXL":
        data = made_by_cjxl(make.encoded(image, "PNG", icc_profile=profile), ".png", "--distance=0")
    else:
        data = make.encoded(image, format, **CODECS[format], icc_profile=profile)
    return File(data, lambda _: icc.rgb_to_srgb(np.asarray(image), primaries, gamma))


def profiled_jp2(space: str) -> File:
    """Pillow writes no profile; the box of the colour space is replaced."""
    primaries, gamma = SPACES[space]
    image, profile = picture(), icc.rgb_profile(primaries, gamma)
    data = make.encoded(image, "JPEG2000")
    start = data.index(b"colr") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    header = data.index(b"jp2h") - 4
    size = int.from_bytes(data[header : header + 4], "big") - length + len(box)
    data = data[:header] + size.to_bytes(4, "big") + data[header + 4 : start] + box + data[start + length :]
    return File(data, lambda _: icc.rgb_to_srgb(np.asarray(image), primaries, gamma))


def profiled_grey(mode: str, format: str) -> File:
    values = np.round(grey() * 255).astype(np.uint8)
    image = Image.fromarray(values)
    if mode == "LA":
        image.putalpha(255)
    elif mode == "I;16":
        image = Image.fromarray(np.round(grey() * 65535).astype(np.uint16))
    expected = 255 * icc.from_xyz(icc.decoded(grey(), 1.4)[..., None] * icc.D50)
    return File(make.encoded(image, format, icc_profile=icc.grey_profile(1.4)), lambda _: expected)


def inked(format: str) -> File:
    image = picture().convert("CMYK")
    inks = np.asarray(image) / 255
    inks[..., 3] = 0.2 * grey()
    image = Image.fromarray(np.round(inks * 255).astype(np.uint8), "CMYK")
    options = {"quality": 98, "subsampling": 0} if format == "JPEG" else {}
    data = make.encoded(image, format, icc_profile=icc.cmyk_profile(), **options)
    return File(data, lambda _: icc.ink(np.asarray(image) / 255))


def plain_cmyk(has_marker: bool) -> File:
    """CMYK without a profile; browsers show it alike with and without Adobe's marker."""
    image = picture().convert("CMYK")
    data = make.encoded(image, "JPEG", quality=98, subsampling=0)
    start = data.index(b"\xff\xee")
    if not has_marker:
        data = data[:start] + data[start + 16 :]
    return File(data, lambda _: rgb(image))


def wrong_profile(profile: bytes) -> File:
    image = picture()
    return File(make.encoded(image, "PNG", icc_profile=profile), lambda _: rgb(image))


def samples(values: Pixels, tones: npt.NDArray[np.float64], **options: object) -> File:
    return File(tiffs.tiff(values, **options), lambda _: as_grey(tones))


def integers(dtype: str, most: int, **options: object) -> File:
    return samples(np.round(grey() * most).astype(dtype), grey(), **options)


def floats(low: float, high: float, **options: object) -> File:
    return samples((low + grey() * (high - low)).astype("float32"), grey(), **options)


def ringing() -> npt.NDArray[np.float32]:
    """Values a little below 0 and above 1, as sharpening makes them."""
    return np.float32(grey() * 1.1 - 0.05)


def in_lab() -> File:
    image = picture()
    values = icc.lab(np.asarray(image)) * [2.55, 1, 1]
    stored_values = np.round(values).astype(np.int16).astype(np.uint8)
    data = make.encoded(Image.frombytes("RGB", image.size, stored_values.tobytes()), "TIFF")
    entry = data.index(b"\x06\x01\x03\x00\x01\x00\x00\x00\x02\x00")  # PhotometricInterpretation: RGB → CIE L*a*b*
    return File(data[: entry + 8] + b"\x08" + data[entry + 9 :], lambda _: rgb(image))


def raw_with_preview(orientation: int) -> File:
    image = picture()
    preview = stored(image, orientation)
    light = icc.decoded(np.asarray(preview) / 255, icc.SRGB_CURVE)
    jpeg = make.encoded(preview, quality=95, subsampling=0)
    return File(tiffs.dng(light, jpeg, orientation), lambda _: rgb(image), ".dng")


def raw_without_preview(orientation: int) -> File:
    light = icc.decoded(np.asarray(stored(picture(), orientation)) / 255, icc.SRGB_CURVE)
    return File(tiffs.dng(light, orientation=orientation), DCRAW, ".dng")


def several_pictures() -> File:
    image = picture()
    data = make.encoded(image, "MPO", save_all=True, append_images=[image.transpose(STORED_AS[3])], quality=95)
    return File(data, lambda _: rgb(image))


for o in range(1, 9):
    case(f"HEIC, orientation {o}", lambda o=o: heic("RGB", o))
    case(f"JPEG XL of a JPEG, orientation {o}", lambda o=o: recompressed_jpeg(o))
    case(f"TIFF, orientation {o}", lambda o=o: turned("TIFF", o))
    case(f"AVIF, orientation {o}", lambda o=o: turned("AVIF", o))
for o in (3, 6, 8):
    for codec in ("JPEG", "PNG", "WEBP"):
        case(f"{codec}, orientation {o}", lambda codec=codec, o=o: turned(codec, o))
for o in (1, 3, 6, 8):
    case(f"camera raw with a preview, orientation {o}", lambda o=o: raw_with_preview(o))
    case(f"camera raw without a preview, orientation {o}", lambda o=o: raw_without_preview(o))
for m in ("RGBA", "L", "LA"):
    case(f"HEIC {m}", lambda m=m: heic(m))
for m in ("RGB", "RGBA", "L", "LA"):
    case(f"JPEG XL {m}, lossless", lambda m=m: jpeg_xl(m, lossless=True))
    case(f"JPEG XL {m}, lossy, in a container", lambda m=m: jpeg_xl(m, quality=95, use_container=True))
    case(f"JPEG 2000 {m}", lambda m=m: jpeg_2000(m))
case("JPEG XL, 16 bits, lossless", lambda: jpeg_xl_16_bits("--distance=0"))
case("JPEG XL, 16 bits, lossy", lambda: jpeg_xl_16_bits("--distance=1"))
case("JPEG 2000, 16 bits", lambda: jpeg_2000("I;16"))
case("JPEG XL with an orientation in EXIF, which does not count", lambda: jpeg_xl("RGB", lossless=True, exif=exif(6)))
case("JPEG 2000 codestream", lambda: jpeg_2000("RGB", no_jp2=True))
case("JPEG 2000, lossy", lambda: jpeg_2000("RGB", irreversible=True, quality_layers=[8]))
case("HEIC, lossless", lambda: heic("RGB", quality=-1, chroma=444))
case("HEIC, 10 bits", ten_bits)
for s in SPACES:
    for codec in CODECS:
        case(f"{codec}, {s}", lambda codec=codec, s=s: profiled(codec, s))
    case(f"JPEG 2000, {s}", lambda s=s: profiled_jp2(s))
for m in ("L", "LA", "I;16"):
    case(f"PNG {m} with a grey profile", lambda m=m: profiled_grey(m, "PNG"))
case("JPEG with a grey profile", lambda: profiled_grey("L", "JPEG"))
case("JPEG, CMYK with a profile", lambda: inked("JPEG"))
case("TIFF, CMYK with a profile", lambda: inked("TIFF"))
case("JPEG, CMYK", lambda: plain_cmyk(True))
case("JPEG, CMYK without Adobe's marker", lambda: plain_cmyk(False))
case("RGB with a profile for CMYK", lambda: wrong_profile(icc.cmyk_profile()))
case("RGB with a profile for grey", lambda: wrong_profile(icc.grey_profile(1.4)))
case("RGB with a damaged profile", lambda: wrong_profile(icc.rgb_profile(icc.PROPHOTO, 1.8)[:150]))
case("TIFF, L*a*b*", in_lab)
case("TIFF, uint16", lambda: integers("uint16", 65535))
case("TIFF, uint16, big endian", lambda: integers("uint16", 65535, order=">"))
case("TIFF, uint16, 0 is white", lambda: samples(np.uint16(65535 * (1 - grey())), grey(), photometric=0))
case("TIFF, 12 bits", lambda: integers("uint16", 4095, bits=12))
for w in WHITES_OF_16_BITS:
    case(f"TIFF, {w} of 16 bits", lambda w=w: integers("uint16", w))
case("TIFF, 14 bits by MaxSampleValue", lambda: integers("uint16", 16383, largest=16383))
case("TIFF, int16", lambda: integers("int16", 32767))
case("TIFF, int16 below zero", lambda: samples(np.round(grey() * 65534 - 32767).astype("int16"), grey()))
case("TIFF, int32", lambda: integers("int32", 2**31 - 1))
case("TIFF, int32 of 8 bits", lambda: integers("int32", 255))
case("TIFF, uint32", lambda: integers("uint32", 2**32 - 1))
case("TIFF, uint32 of 16 bits", lambda: integers("uint32", 65535))
case("TIFF, float", lambda: floats(0, 1))
case("TIFF, float, big endian", lambda: floats(0, 1, order=">"))
case(
    "TIFF, float with ringing",
    lambda: samples((grey() * 1.1 - 0.05).astype("float32"), np.clip(grey() * 1.1 - 0.05, 0, 1)),
)
case("TIFF, float from −1 to 1", lambda: floats(-1, 1))
case("TIFF, float up to 255", lambda: floats(0, 255))
case("TIFF, float up to 1000", lambda: samples((grey() * 1000).astype("float32"), grey() * 1000 / 1023))
case("TIFF, float up to 65535", lambda: floats(0, 65535))
case("TIFF, float, 0 is white", lambda: floats(1, 0, photometric=0))
case("JPEG of several pictures", several_pictures)
NAMES = [name if n % FAST == 0 else pytest.param(name, marks=pytest.mark.slow) for n, name in enumerate(CASES)]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_looks_as_another_decoder_shows_it(name: str, tmp_path: Path) -> None:
    file = CASES[name]()
    path = tmp_path / f"photo{file.suffix}"
    path.write_bytes(file.data)
    shown, expected = np.asarray(PhotoDecoder().decode(file.data)), file.expected(path)
    assert shown.shape == expected.shape
    assert icc.difference(shown, expected) <= LARGEST_DIFFERENCE


def test_there_are_enough_files() -> None:
    assert len(CASES) >= 80


def test_the_network_sees_the_colours_of_a_profile() -> None:
    file = profiled("JPEG", "ProPhoto")
    seen = PhotoDecoder().read_pixels(file.data, ResizeRule(size=64, shorter_side=64)).pixels
    middle = file.expected(Path())[:, 16:-16]
    assert icc.difference(seen, middle) <= LARGEST_DIFFERENCE
