"""The interface of a store of photos."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from retrieval.errors import UnreadablePhoto
from retrieval.photo_ref import FileStatus
from retrieval.source_policy import DEFAULT_MAX_BYTES

CHAIN = "::"  # in a URI, between the path in an archive and the archive


class Entry(NamedTuple):
    """A file or folder of a store."""

    name: str
    uri: str  # canonical
    is_folder: bool
    status: FileStatus | None = None  # if the listing of its folder includes it
    is_link: bool = False  # whether it is a symbolic link to a folder


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo, folder or line of a manifest that could not be read, listed or indexed, and why, as one sentence."""

    uri: str
    reason: str


OnSkipped = Callable[[Failure], None]


class PhotoStore(ABC):
    """A kind of store: reads and lists its photos.

    Sources are named by a local path or a URL, photos and folders by their canonical URI.
    """

    @abstractmethod
    def canonical(self, name: str) -> str:
        """The canonical URI of a source; raises `BadSource` if no store understands its name."""

    @abstractmethod
    def status(self, uri: str) -> FileStatus:
        """The current status of a photo's file; raises as `read`."""

    @abstractmethod
    def read(self, uri: str, max_bytes: int = DEFAULT_MAX_BYTES, listed: FileStatus | None = None) -> bytes:
        """The content of a photo's file; at most one byte more than `max_bytes` is read.

        Args:
            uri: the canonical URI of the photo.
            max_bytes: a larger file is refused, before it is read if its size is known.
            listed: the status of the file in the listing of its folder, which can save a request; None if unknown.

        Raises:
            MissingPhoto: the file does not exist.
            UnreadablePhoto: the file can't be read, or is too large.
        """

    @abstractmethod
    def open_file(self, source: str) -> AbstractContextManager[BinaryIO]:
        """A file that can be read in any order; raises `BadSource` if it can't be read."""

    @abstractmethod
    def head(self, uri: str, count: int) -> bytes:
        """The first bytes of a photo's file, at most `count`; raises as `read`."""

    @abstractmethod
    def is_folder(self, source: str) -> bool:
        """Whether a source is a folder; raises `BadSource` if its store can't be reached."""

    @abstractmethod
    def folder(self, source: str) -> Entry:
        """The folder that a source names; raises `BadSource` if no store understands its name."""

    @abstractmethod
    def entries(self, folder: Entry) -> list[Entry]:
        """The files and folders directly in a folder, sorted; raises `BadSource` if it can't be listed."""

    @abstractmethod
    def identity(self, folder: Entry) -> Hashable:
        """A key that two names of one folder share; raises `BadSource` if it can't be listed."""

    def prefix(self, source: str) -> tuple[str, str]:
        """The start of the canonical URIs of all photos below a folder and, in an archive, their end."""
        inner, chain, archive = self.folder(source).uri.partition(CHAIN)
        return inner.removesuffix("/") + "/", chain + archive


def check_size(name: str, size: int, max_bytes: int) -> None:
    """Raise `UnreadablePhoto` if the file of this printable name, `size` bytes long, is larger than allowed."""
    if size > max_bytes:
        raise UnreadablePhoto(
            f"{name} has {size:,} bytes, more than the {max_bytes:,} allowed.",
            "Make it smaller or raise LOOKALIKE_MAX_FILE_MB.",
        )
