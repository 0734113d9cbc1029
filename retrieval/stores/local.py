"""Photos in folders on this machine."""

import os
import stat
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote_from_bytes

from retrieval.errors import BadSource, MissingPhoto, UnreadablePhoto, os_errors_as
from retrieval.photo_ref import FileStatus, display, file_uri, path_of, uri_of
from retrieval.source_policy import DEFAULT_MAX_BYTES
from retrieval.stores.base import Entry, PhotoStore, check_size

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LocalStore(PhotoStore):
    """The folders of this machine."""

    def canonical(self, name: str) -> str:
        return uri_of(Path(name))

    def status(self, uri: str) -> FileStatus:
        status = _regular(path_of(uri))
        modified = EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
        return FileStatus(status.st_size, modified.isoformat(timespec="microseconds"))

    def read(self, uri: str, max_bytes: int = DEFAULT_MAX_BYTES, listed: FileStatus | None = None) -> bytes:
        return read_file(path_of(uri), max_bytes)

    @contextmanager
    def open_file(self, source: str) -> Iterator[BinaryIO]:
        with (
            os_errors_as(BadSource, f"{display(source)} can't be read", "Correct its permissions."),
            Path(source).open("rb") as file,
        ):
            yield file

    def head(self, uri: str, count: int) -> bytes:
        path = path_of(uri)
        _regular(path)
        try:
            with path.open("rb") as file:
                return file.read(count)
        except OSError as error:
            raise _unreadable(path, error) from None

    def is_folder(self, source: str) -> bool:
        return Path(source).is_dir()

    def folder(self, source: str) -> Entry:
        path = os.path.realpath(source)
        return Entry(os.path.basename(path), file_uri(path), is_folder=True)

    def entries(self, folder: Entry) -> list[Entry]:
        path = os.fspath(path_of(folder.uri))
        with _listing(path):
            found = sorted(os.scandir(path), key=attrgetter("name"))
        above = folder.uri.removesuffix("/")
        return [_entry(above, entry) for entry in found]

    def identity(self, folder: Entry) -> Hashable:
        path = os.fspath(path_of(folder.uri))
        with _listing(path):
            status = os.stat(path)
        return status.st_dev, status.st_ino


def read_file(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The content of a regular file, at most `max_bytes` long; raises `UnreadablePhoto`."""
    size = _regular(path).st_size
    check_size(display(path), size, max_bytes)
    try:
        with path.open("rb") as file:
            data = file.read(size + 1)  # with `max_bytes`, a buffer of that size would be allocated and copied
            if len(data) > size:  # it has grown, or its size is not known, as that of a file in /proc
                data += file.read(max_bytes + 1 - len(data))
    except OSError as error:
        raise _unreadable(path, error) from None
    check_size(display(path), len(data), max_bytes)
    return data


def _regular(path: Path) -> os.stat_result:
    """The status of a file; raises `UnreadablePhoto` for a folder, or for a pipe, which could block forever."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadablePhoto(f"{display(path)} is {kind}.", "Name a photo.")
    return status


def _entry(above: str, entry: "os.DirEntry[str]") -> Entry:
    uri = f"{above}/{quote_from_bytes(os.fsencode(entry.name))}"
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link that points to itself
        is_folder = False
    return Entry(entry.name, uri, is_folder, is_link=is_folder and entry.is_symlink())


def _listing(path: str) -> AbstractContextManager[None]:
    return os_errors_as(BadSource, f"The folder {display(path)} can't be listed", "Correct its permissions.")


def _unreadable(path: Path, error: OSError) -> UnreadablePhoto:
    kind = MissingPhoto if isinstance(error, FileNotFoundError | NotADirectoryError) else UnreadablePhoto
    return kind(f"{display(path)} can't be read ({error.strerror}).", "Check its name and permissions.")
