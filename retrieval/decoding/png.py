"""PNG files with texts or a colour profile beyond the limits of Pillow, which refuses them."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that may hold the orientation of a photo.
ORIENTING = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
PILLOW_LIMIT = 1 << 20  # bytes of a decompressed text or profile
SHORT = 1000  # bytes, which zlib can't decompress to more than that limit
MAX_PROFILE = 16 << 20


def within_limits(data: bytes) -> tuple[bytes, bytes | None]:
    """A PNG file without the chunks that Pillow refuses, and the colour profile that was removed or None.

    Texts are of no use here, unless they may hold the orientation; other long ones are removed.
    """
    kept, profile, start = [], None, 0
    for kind, begin, end in _chunks(data):
        content = memoryview(data)[begin + 8 : end - 4]
        if len(content) <= SHORT:
            continue
        if kind in TEXTS:
            is_removed = not bytes(content[:32]).startswith(ORIENTING) or _is_long(kind, content)
        elif kind == b"iCCP" and _is_long(kind, content):
            profile, is_removed = _inflated(kind, content, MAX_PROFILE), True
        else:
            continue
        if is_removed:
            kept.append(memoryview(data)[start:begin])
            start = end
    return (b"".join([*kept, memoryview(data)[start:]]) if kept else data), profile


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type, start and end of each chunk."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            return
        yield kind, start, end
        start = end


def _is_long(kind: bytes, content: memoryview) -> bool:
    """Whether a text or profile has more bytes than Pillow allows once it is decompressed."""
    if kind == b"tEXt":
        return len(content) > PILLOW_LIMIT
    return len(_inflated(kind, content, PILLOW_LIMIT + 1)) > PILLOW_LIMIT


def _inflated(kind: bytes, content: memoryview, limit: int) -> bytes:
    """At most `limit` bytes of a decompressed text or profile; nothing if it is damaged."""
    rest = bytes(content).partition(b"\0")[2]
    if kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        if not is_compressed:
            return rest[:limit]
    else:
        rest = rest[1:]
    try:
        return zlib.decompressobj().decompress(rest, limit)
    except zlib.error:
        return b""
