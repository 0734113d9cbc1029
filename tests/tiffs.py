"""TIFF files that Pillow can't write: unusual samples, and camera raw files (DNG)."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

SHORT, LONG, RATIONAL, BYTE, ASCII = 3, 4, 10, 1, 2  # RATIONAL is the signed one
SIZES = {SHORT: "H", LONG: "I", BYTE: "B"}
TO_CAMERA = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)  # XYZ → linear sRGB

Entry = tuple[int, Any]  # type and values


def tiff(values: npt.NDArray[Any], order: str = "<", bits: int | None = None, **tags: int) -> bytes:
    """A grey TIFF of these samples, [height, width], without compression.

    Args:
        bits: of a sample; 12 packs two samples into three bytes.
        tags: `photometric`, 0 if the least value is white; `largest`, MaxSampleValue.
    """
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = bits or values.dtype.itemsize * 8
    data = _packed_12(values) if bits == 12 else values.astype(values.dtype.newbyteorder(order)).tobytes()
    entries: dict[int, Entry] = {258: (SHORT, [bits]), 262: (SHORT, [tags.get("photometric", 1)]), 339: (SHORT, [kind])}
    if "largest" in tags:
        entries[281] = (SHORT, [tags["largest"]])
    head = order_mark(order) + struct.pack(f"{order}HI", 42, 8)
    return head + _directory(values.shape, data, entries, 8, order, 0)


def dng(light: npt.NDArray[np.float64], preview: bytes = b"", orientation: int = 1) -> bytes:
    """A camera raw file of a photo in linear light, 0 to 1, [height, width, 3], height and width even.

    Args:
        preview: a JPEG, as it is stored.
        orientation: the EXIF orientation of photo and preview.
    """
    mosaic = np.empty(light.shape[:2], np.uint16)
    for (row, column), channel in {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}.items():
        mosaic[row::2, column::2] = np.round(light[row::2, column::2, channel] * 65535)
    camera: dict[int, Entry] = {
        271: (ASCII, b"Tests\0"),
        272: (ASCII, b"Mosaic\0"),
        274: (SHORT, [orientation]),
        50706: (BYTE, [1, 4, 0, 0]),
        50708: (ASCII, b"Tests Mosaic\0"),
        50721: (RATIONAL, TO_CAMERA),
        50728: (RATIONAL, [1, 1, 1]),
        50778: (SHORT, [21]),
    }
    raw: dict[int, Entry] = {
        258: (SHORT, [16]),
        262: (SHORT, [32803]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, [0, 1, 1, 2]),
        50714: (SHORT, [0]),
        50717: (LONG, [65535]),
    }
    head = b"II" + struct.pack("<HI", 42, 8)
    if not preview:
        return head + _directory(mosaic.shape, mosaic.tobytes(), camera | raw, 8, "<", 0)
    shape = _size_of_jpeg(preview)
    first = {258: (SHORT, [8, 8, 8]), 259: (SHORT, [7]), 262: (SHORT, [6]), 277: (SHORT, [3])} | camera
    length = len(_directory(shape, preview, first | {330: (LONG, [0])}, 8, "<", 1))
    above = _directory(shape, preview, first | {330: (LONG, [8 + length])}, 8, "<", 1)
    return head + above + _directory(mosaic.shape, mosaic.tobytes(), raw, 8 + length, "<", 0)


def order_mark(order: str) -> bytes:
    """The first bytes of a TIFF, little or big endian."""
    return b"II" if order == "<" else b"MM"


def _directory(
    shape: tuple[int, ...], data: bytes, entries: Mapping[int, Entry], start: int, order: str, subfile: int
) -> bytes:
    """A directory at the byte `start`, its longer values, and the pixels in one strip."""
    height, width = shape
    usual: dict[int, Entry] = {
        254: (LONG, [subfile]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        259: (SHORT, [1]),
        273: (LONG, [0]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
    }
    entries = dict(sorted((usual | dict(entries)).items()))
    after = start + 2 + 12 * len(entries) + 4
    longer = sum(_even(len(_values(entry, order))) for entry in entries.values() if len(_values(entry, order)) > 4)
    entries[273] = (LONG, [after + longer])
    table, values = struct.pack(f"{order}H", len(entries)), b""
    for tag, entry in entries.items():
        encoded = _values(entry, order)
        count = len(encoded) // {SHORT: 2, LONG: 4, RATIONAL: 8}.get(entry[0], 1)
        table += struct.pack(f"{order}HHI", tag, entry[0], count)
        if len(encoded) <= 4:
            table += encoded.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", after + len(values))
            values += encoded.ljust(_even(len(encoded)), b"\0")
    return table + b"\0" * 4 + values + data.ljust(_even(len(data)), b"\0")


def _values(entry: Entry, order: str) -> bytes:
    kind, values = entry
    if kind == ASCII:
        return bytes(values)
    if kind == RATIONAL:
        return b"".join(struct.pack(f"{order}ii", round(value * 10000), 10000) for value in values)
    return struct.pack(f"{order}{len(values)}{SIZES[kind]}", *values)


def _packed_12(values: npt.NDArray[Any]) -> bytes:
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    return packed.astype(np.uint8).tobytes()


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    start = data.index(b"\xff\xc0") + 5
    height, width = struct.unpack(">HH", data[start : start + 4])
    return height, width


def _even(length: int) -> int:
    return length + length % 2
