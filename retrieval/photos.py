"""Photos by name, here or at a URL: their URIs, what tells whether they changed, and their content."""

import os
import re
import stat
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from retrieval.errors import UnreadablePhoto

Extra = dict[str, str | int | float | bool]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*:(//|:)")


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What tells whether a file changed: its size in bytes, when it was modified, and its version in its store.

    `modified_at` is ISO 8601 in UTC, empty where the store does not say.
    """

    size: int
    modified_at: str
    etag: str | None = None

    @property
    def is_sure(self) -> bool:
        """Whether equal statuses mean equal contents."""
        return bool(self.modified_at or self.etag)


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo by name: its canonical URI, and what its source says of it.

    Args:
        uri: `file://` for a photo on this machine; its URL as fsspec writes it otherwise.
        label: its label.
        split: the split that a manifest puts it in.
        extra: the other columns of its row in a manifest.
        status: what a listing told of its file; None: to be asked.
    """

    uri: str
    label: str | None = None
    split: str | None = None
    extra: Extra = field(default_factory=dict, hash=False)
    status: FileStatus | None = None

    @property
    def id(self) -> uuid.UUID:
        """The id of this photo's point in every index: the UUIDv5 of its URI."""
        return photo_id(self.uri)

    @property
    def is_local(self) -> bool:
        """Whether it is a file on this machine."""
        return self.uri.startswith("file:")

    @property
    def path(self) -> Path:
        """Where it lies on this machine; raises `UnreadablePhoto` where it does not."""
        return path_of(self.uri)


def photo_id(uri: str) -> uuid.UUID:
    """The UUIDv5 of a canonical URI, in the URL namespace of RFC 9562."""
    return uuid.uuid5(uuid.NAMESPACE_URL, uri)


def file_status(photo: PhotoRef) -> FileStatus:
    """The status of a photo's file now, here or at its URL; raises `UnreadablePhoto` where it can't be had."""
    if photo.is_local:
        status = photo_status(photo.path)
        modified = EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
        return FileStatus(status.st_size, modified.isoformat(timespec="microseconds"))
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    return remote.url_status(photo.uri)


def file_content(photo: PhotoRef) -> bytes:
    """The content of a photo's file, here or at its URL; raises `UnreadablePhoto` where it can't be had."""
    if photo.is_local:
        return read_photo(photo.path)
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    return remote.read_url(photo.uri)


def read_photo(path: Path) -> bytes:
    """The content of a photo's file; raises `UnreadablePhoto` where it can't be had."""
    photo_status(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def photo_status(path: Path) -> os.stat_result:
    """The status of a photo's file; raises `UnreadablePhoto` for a folder, or a pipe that would never end."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise UnreadablePhoto(f"{display(path)} is {kind}.", "Name a photo.")
    return status


def is_url(source: str | Path) -> bool:
    """Whether a source is the URL of something elsewhere, and no path."""
    return isinstance(source, str) and URL.match(source) is not None


def uri_of(path: Path) -> str:
    """The canonical URI of a local photo: `file://`, its folder's real path, its name; any bytes percent-encoded."""
    return file_uri(os.path.join(os.path.realpath(path.parent), path.name))


def file_uri(path: str) -> str:
    """The `file://` URI of a real path; any bytes percent-encoded."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def source_uri(source: str) -> str:
    """The canonical URI of a manifest, here or elsewhere."""
    if not is_url(source):
        return uri_of(Path(source))
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    return remote.canonical(source)


def path_of(uri: str) -> Path:
    """The local path of a `file://` URI; raises `UnreadablePhoto` for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnreadablePhoto(f"{uri} is not on this machine.", "Copy it here, and name the copy.")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def display_uri(uri: str) -> str:
    """A photo for a person: its path where it lies on this machine, otherwise its URI, as one printable line."""
    return display(path_of(uri) if uri.startswith("file:") else uri)


def file_name(uri: str) -> str:
    """The last part of a photo's URI, in an archive that of its path there, for people to read."""
    path, _, _ = uri.partition("::")
    return display(os.fsdecode(unquote_to_bytes(path.rpartition("/")[2])))


def display(path: Path | str) -> str:
    """A path or label as one printable line: control characters and what is no UTF-8 escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in os.fspath(path))


def _escaped(char: str) -> str:
    byte = ord(char) - 0xDC00  # how Python writes a byte that is no UTF-8 (PEP 383)
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()


def _unreadable(path: Path, error: OSError) -> UnreadablePhoto:
    return UnreadablePhoto(f"{display(path)} can't be read ({error.strerror}).", "Check its name and permissions.")
