"""Opening an encoded photo: its format is found by its content, and only its header is read."""

import io

from PIL import Image, UnidentifiedImageError

from retrieval import formats
from retrieval.decoding import png
from retrieval.decoding.boxes import boxes
from retrieval.decoding.camera_raw import CameraRawFile, is_camera_raw
from retrieval.decoding.jpeg_xl import JpegXlFile, is_jpeg_xl
from retrieval.errors import UnreadablePhoto

OF_PILLOW = tuple(format.name for format in formats.FORMATS if format.module == "PIL")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
ANY_BRANDS = (b"mif1", b"mif2", b"msf1", b"miaf")  # HEIC or AVIF
AVIF_BRANDS = (b"avif", b"avis")
# The first bytes of files that are often taken for photos; a video has its brand after its length.
OTHERS = {
    b"%PDF": "a PDF file",
    b"<svg": "an SVG file",
    b"<?xml": "an XML file",
    b"8BPS": "a Photoshop file",
    b"gimp xcf": "a GIMP file",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1aE\xdf\xa3": "a video",
    b"<html": "an HTML page",
    b"<!doctype html": "an HTML page",
}
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


def open_image(data: bytes) -> Image.Image:
    """Open an encoded photo with Pillow or, for formats that it lacks, as an image file of its classes.

    Raises:
        UnreadablePhoto: it is empty, its format is unknown, or the package that decodes it is not installed.
        Exception: it is damaged; every decoder has its own exceptions.
    """
    if not data:
        raise UnreadablePhoto("It is empty (0 bytes).")
    if is_camera_raw(data):
        return CameraRawFile(io.BytesIO(data))
    if is_jpeg_xl(data):
        return _jpeg_xl(data)
    if _is_heic(data):
        return _heic(data)
    return _of_pillow(data)


def decoder_bytes(image: Image.Image, pixels: int) -> int:
    """The memory that the decoder of an opened image of so many pixels takes, besides the decoded image."""
    if isinstance(image, CameraRawFile):
        return image.decoder_bytes
    progressive = 2 * len(image.getbands()) if is_progressive(image) else 0
    return (formats.by_name(image.format).buffers + progressive) * pixels


def is_progressive(image: Image.Image) -> bool:
    """Whether an opened image is a progressive JPEG; libjpeg holds all its coefficients, even if it reduces it."""
    return "progressive" in image.info


def full_size(image: Image.Image) -> tuple[int, int]:
    """The width and height of the whole photo as it is stored; call it before `draft`, except for camera raw files."""
    return image.full_size if isinstance(image, CameraRawFile) else image.size


def _of_pillow(data: bytes) -> Image.Image:
    profile = None
    if data.startswith(png.SIGNATURE):
        data, profile = png.within_limits(data)
    elif data.startswith(JP2):
        profile = _profile_of_jp2(data)
    try:
        image = Image.open(io.BytesIO(data), formats=OF_PILLOW)
    except UnidentifiedImageError:
        raise UnreadablePhoto(
            f"It is {_kind(data)}not a photo of a known format.", f"These formats are read: {formats.LISTED}."
        ) from None
    if profile:
        image.info["icc_profile"] = profile
    return image


def _kind(data: bytes) -> str:
    """Return what a file is that is not a photo, with a comma; empty if that is not known."""
    start = data[:64].lstrip().lower()
    if data[4:8] == b"ftyp" or data[:4] == b"RIFF":
        return "a video, "
    return next((f"{kind}, " for magic, kind in OTHERS.items() if start.startswith(magic.lower())), "")


def _heic(data: bytes) -> Image.Image:
    from pi_heif.as_plugin import HeifImageFile  # noqa: PLC0415 - takes as long to import as all other decoders

    # libheif turns the photo upright; the plug-in removes the orientation from its metadata.
    image: Image.Image = HeifImageFile(io.BytesIO(data))
    return image


def _jpeg_xl(data: bytes) -> Image.Image:
    if not formats.is_readable(formats.by_name("JXL")):
        raise UnreadablePhoto("It is a JPEG XL file.", "Install lookalike[jxl] to read it.")
    return JpegXlFile(io.BytesIO(data))


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brand = data[8:12]
    length = int.from_bytes(data[:4], "big")
    compatible = [data[start : start + 4] for start in range(16, min(length, 256), 4)]
    return brand in HEIC_BRANDS or (brand in ANY_BRANDS and not any(brand in AVIF_BRANDS for brand in compatible))


def _profile_of_jp2(data: bytes) -> bytes | None:
    """The colour profile of a JPEG 2000 file, which Pillow does not read (ISO/IEC 15444-1, I.5.3.3)."""
    for kind, content in boxes(data):
        if kind == b"jp2h":
            for inner, colours in boxes(content):
                if inner == b"colr" and len(colours) > 3 and colours[0] == 2:  # a restricted profile
                    return bytes(colours[3:])
            return None
    return None
