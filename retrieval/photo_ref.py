"""Photos by name: canonical URIs, ids, the status of a file, and names as they are shown to people."""

import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from retrieval.errors import UnreadablePhoto

Scalar = str | int | float | bool
Value = Scalar | list[Scalar]
Extra = dict[str, Value]
URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*:(//|:)")


@dataclass(frozen=True, slots=True)
class FileStatus:
    """The status of a file, compared to detect changes."""

    size: int  # in bytes
    modified_at: str  # ISO 8601 in UTC; empty if the store does not report it
    etag: str | None = None  # the version of the file in its store, or None if the store does not report one

    @property
    def is_sure(self) -> bool:
        """Whether equal statuses mean equal contents."""
        return bool(self.modified_at or self.etag)


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A reference to a photo: its canonical URI and what its source says about it."""

    uri: str  # `file://` for a local photo, otherwise its URL as fsspec writes it
    label: str | None = None
    split: str | None = None  # the split that a manifest assigns
    extra: Extra = field(default_factory=dict, hash=False)  # the other columns of its row in a manifest
    status: FileStatus | None = None  # the status of its file if the listing includes it
    label_is_default: bool = False  # whether a label that the index has takes precedence, as for names of folders
    source: str | None = None  # the URI of the folder or manifest that names it; see `indexer.source_uri`

    @property
    def id(self) -> uuid.UUID:
        """The id of a new photo, unless another photo has it; `VectorIndex.named` finds an indexed photo."""
        return photo_id(self.uri)

    @property
    def is_local(self) -> bool:
        """Whether the photo is a file on this machine."""
        return self.uri.startswith("file:")

    @property
    def path(self) -> Path:
        """The local path; raises `UnreadablePhoto` if the photo is not on this machine."""
        return path_of(self.uri)


def photo_id(uri: str, sha256: str | None = None) -> uuid.UUID:
    """The UUIDv5 of a canonical URI, in the URL namespace of RFC 9562; with a content, that of `URI#sha256`."""
    return uuid.uuid5(uuid.NAMESPACE_URL, uri if sha256 is None else f"{uri}#{sha256}")


def is_url(source: str | Path) -> bool:
    """Whether a source is a URL rather than a local path."""
    return isinstance(source, str) and URL.match(source) is not None


def uri_of(path: Path) -> str:
    """The canonical URI of a local photo: `file://`, the real path of its folder, its name, percent-encoded."""
    return file_uri(os.path.join(os.path.realpath(path.parent), path.name))


def file_uri(path: str) -> str:
    """The `file://` URI of a real path, percent-encoded."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def path_of(uri: str) -> Path:
    """The local path of a `file://` URI; raises `UnreadablePhoto` for any other URI."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnreadablePhoto(f"{uri} is not on this machine.", "Copy it here, and name the copy.")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def display_uri(uri: str) -> str:
    """A photo as one printable line: its path if it is local, otherwise its URI."""
    return display(path_of(uri) if uri.startswith("file:") else uri)


def file_name(uri: str) -> str:
    """The printable file name of a photo; in an archive, the name of the archive's member."""
    path, _, _ = uri.partition("::")
    return display(os.fsdecode(unquote_to_bytes(path.rpartition("/")[2])))


def display(path: Path | str) -> str:
    """A path or label as one printable line: control characters and bytes that are not UTF-8 are escaped."""
    text = os.fspath(path)
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    byte = ord(char) - 0xDC00  # how Python represents a byte that is not UTF-8 (PEP 383)
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()
