"""A ZIP archive of photos, written while it is sent."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from retrieval.errors import LookalikeError
from web.photo_files import PhotoFiles
from web.zip_names import ZipNames

MISSING = "MISSING.txt"


@dataclass(frozen=True, slots=True)
class ZippedPhoto:
    """A photo for an archive."""

    uri: str
    path: str  # as the person who receives the archive may see it
    modified_at: str  # when its file was last modified; ISO 8601 in UTC


def zip_photos(files: PhotoFiles, photos: Iterable[ZippedPhoto], missing: Sequence[str] = ()) -> Iterator[bytes]:
    """Yield the bytes of an archive with the files of photos, which are not compressed; one is in memory at a time.

    Photos whose files can't be read are listed in `MISSING.txt`, the last file of the archive, and the comment of the
    archive has their number: `2 missing`.

    Args:
        files: reads the files.
        photos: in the order of the archive.
        missing: further lines of `MISSING.txt`.
    """
    sent, lines, names = _Sent(), list(missing), ZipNames([MISSING])
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            try:
                content = files.content(files.original(photo.uri))
            except LookalikeError:
                lines.append(photo.path)
            else:
                archive.writestr(_entry(names.of(photo.path), photo.modified_at), content)
                yield sent.taken()
        if lines:
            archive.writestr(MISSING, "".join(f"{line}\n" for line in lines))
            archive.comment = f"{len(lines)} missing".encode()
    yield sent.taken()


def _entry(name: str, modified_at: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    with suppress(ValueError):  # dates before 1980 do not exist in ZIP archives
        modified = datetime.fromisoformat(modified_at)
        entry = zipfile.ZipInfo(name, modified.timetuple()[:6])
    entry.external_attr = 0o644 << 16  # the permissions of the file
    return entry


class _Sent(io.RawIOBase):
    """A file that can only be written, and keeps what was written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        self._chunks.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        taken, self._chunks = b"".join(self._chunks), []
        return taken
