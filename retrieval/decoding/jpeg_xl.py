"""JPEG XL: the size of a photo is read from its header, before the plug-in decodes it."""

import io
from itertools import chain
from typing import Any

from PIL import ImageFile, ImageOps

from retrieval.decoding.boxes import boxes

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class JpegXlFile(ImageFile.ImageFile):
    """A JPEG XL file, upright. Unlike the class of the plug-in, it does not decode the pixels when it is opened."""

    format = "JXL"
    format_description = "JPEG XL"
    _encoded: bytes | None = None

    def _open(self) -> None:
        assert self.fp is not None
        self._encoded = self.fp.read()
        self._size = upright_size(self._encoded)
        self._mode = "RGB"  # until it is loaded

    def load(self) -> Any:
        """Decode the file; see `PIL.ImageFile.ImageFile.load`."""
        if self._encoded is not None:
            from pillow_jxl.JpegXLImagePlugin import JXLImageFile  # noqa: PLC0415 - an extra

            decoded: Any = JXLImageFile(io.BytesIO(self._encoded))
            decoded.load()
            self._encoded = None
            # libjxl has turned it upright, unless the file holds a JPEG, which the plug-in decodes with Pillow.
            image = ImageOps.exif_transpose(decoded) if decoded.jpeg else decoded
            self.info = {key: value for key, value in decoded.info.items() if key == "icc_profile"}
            self.im, self._size, self._mode = image.im, image.size, image.mode
        return super().load()


def is_jpeg_xl(data: bytes) -> bool:
    """Whether data start as JPEG XL, with or without a container."""
    return data.startswith((CODESTREAM, CONTAINER))


def upright_size(data: bytes) -> tuple[int, int]:
    """The upright width and height in the header of the codestream (ISO/IEC 18181-1, D.2 and D.3).

    Raises `SyntaxError` if the data are no JPEG XL.
    """
    bits = _Bits(_codestream(data))
    is_small = bits.read(1)
    height = 8 * (bits.read(5) + 1) if is_small else bits.size()
    ratio = bits.read(3)
    if ratio:
        across, down = RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = 8 * (bits.read(5) + 1) if is_small else bits.size()
    has_default_metadata = bits.read(1)
    has_orientation = not has_default_metadata and bits.read(1)
    orientation = 1 + bits.read(3) if has_orientation else 1
    return (width, height) if orientation < 5 else (height, width)


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream after its signature."""
    if data.startswith(CODESTREAM):
        return data[2:40]
    for kind, content in boxes(data):
        skipped = {b"jxlc": 0, b"jxlp": 4}.get(kind)  # a partial codestream starts with its number
        if skipped is not None and bytes(content[skipped : skipped + 2]) == CODESTREAM:
            return bytes(content[skipped + 2 : skipped + 40])
    raise SyntaxError("no JPEG XL codestream")


class _Bits:
    """Bits of a codestream, the least significant one of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits = chain.from_iterable(((byte >> place) & 1 for place in range(8)) for byte in data)

    def read(self, count: int) -> int:
        """An unsigned integer of `count` bits."""
        try:
            return sum(next(self._bits) << place for place in range(count))
        except (StopIteration, RuntimeError):
            raise SyntaxError("truncated JPEG XL header") from None

    def size(self) -> int:
        """A width or height: two bits say how many bits it has."""
        return 1 + self.read((9, 13, 18, 30)[self.read(2)])
