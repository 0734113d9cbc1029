"""The boxes of ISO base media files, of which JPEG 2000, JPEG XL, HEIF and AVIF files consist."""

import struct
from collections.abc import Iterator


def boxes(data: bytes | memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The type and content of each box; ends at a damaged one (ISO/IEC 14496-12, 4.2)."""
    view, start = memoryview(data), 0
    while start + 8 <= len(view):
        length, kind = struct.unpack_from(">I4s", view, start)
        header = 8
        if length == 1 and start + 16 <= len(view):  # a longer box has 64 bits for its length
            (length,) = struct.unpack_from(">Q", view, start + 8)
            header = 16
        end = start + length if length else len(view)
        if end < start + header:
            return
        yield kind, view[start + header : end]
        start = end
