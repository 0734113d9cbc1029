"""Photos at URLs, through fsspec: `s3://`, `http(s)://`, `memory://`, `zip://inner::URL` and every installed store.

The canonical URI of such a photo is its URL as fsspec writes it, not percent-encoded: `s3://bucket/roses/1.jpg`; in an
archive, followed by the archive's own: `zip://roses/1.jpg::file:///photos.zip`. Credentials and endpoints come from
each store's own configuration (for S3 the `AWS_*` variables), or from fsspec's (`FSSPEC_S3_ENDPOINT_URL`).
"""

import posixpath
import shutil
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, Any, BinaryIO, TypeVar, cast

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs

from retrieval.errors import BadSource, LookalikeError, MissingPhoto, UnreadablePhoto
from retrieval.photo_ref import FileStatus, display
from retrieval.source_policy import DEFAULT_MAX_BYTES
from retrieval.stores.base import CHAIN, Entry, PhotoStore, check_size

MODIFIED = ("LastModified", "last_modified", "mtime", "modified", "created", "date_time")  # the stores' names for it
VERSION = ("ETag", "etag", "CRC")
COPIED_AT_ONCE = 1 << 20  # bytes
OPEN_ARCHIVES = 2  # each with its directory in memory

Result = TypeVar("Result")


class RemoteStore(PhotoStore):
    """Every store that fsspec reaches."""

    def canonical(self, name: str) -> str:
        file_system, path = _open(name)
        return _uri(file_system, path, _archive(name))

    def status(self, uri: str) -> FileStatus:
        return _requested(lambda: _status_at(uri), f"{display(uri)} can't be read", UnreadablePhoto, MissingPhoto)

    def read(self, uri: str, max_bytes: int = DEFAULT_MAX_BYTES, listed: FileStatus | None = None) -> bytes:
        return _requested(
            lambda: _content_at(uri, max_bytes, listed), f"{display(uri)} can't be read", UnreadablePhoto, MissingPhoto
        )

    @contextmanager
    def open_file(self, source: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as copy:  # a connection would not stay open as long as a job runs
            _requested(lambda: _copy(source, copy), f"{display(source)} can't be read", BadSource)
            copy.seek(0)
            yield cast(BinaryIO, copy)

    def head(self, uri: str, count: int) -> bytes:
        def first_bytes() -> bytes:
            file_system, path = _resolve(uri)
            with file_system.open(path, "rb") as file:
                return _read(file, count)

        return _requested(first_bytes, f"{display(uri)} can't be read", UnreadablePhoto, MissingPhoto)

    def is_folder(self, source: str) -> bool:
        file_system, path = _open(source)
        return _requested(lambda: bool(file_system.isdir(path)), f"{display(source)} can't be reached", BadSource)

    def folder(self, source: str) -> Entry:
        file_system, path = _open(source)
        return Entry(_name(path), _uri(file_system, path, _archive(source)), is_folder=True)

    def entries(self, folder: Entry) -> list[Entry]:
        file_system, path = _open(folder.uri)

        def listed() -> list[dict[str, Any]]:
            file_system.invalidate_cache(path)
            found: list[dict[str, Any]] = file_system.ls(path, detail=True)
            file_system.invalidate_cache(path)
            return found

        found = sorted(
            _requested(listed, f"{display(folder.uri)} can't be listed", BadSource),
            key=lambda entry: str(entry["name"]),
        )
        archive = folder.uri.partition(CHAIN)[2]
        return [
            Entry(
                _name(entry["name"]),
                _uri(file_system, entry["name"], archive),
                entry["type"] == "directory",
                _status(entry),
            )
            for entry in found
            if entry["name"].rstrip("/") != path.rstrip("/")  # some stores list the folder itself
        ]

    def identity(self, folder: Entry) -> Hashable:
        return folder.uri  # these stores have no links


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    return _requested(lambda: _resolve(url), f"{display(url)} can't be used", BadSource)


def _content_at(url: str, max_bytes: int, listed: FileStatus | None) -> bytes:
    file_system, path = _resolve(url)
    if listed is not None and listed.size > 0:  # only stores that read ranges list sizes
        check_size(display(url), listed.size, max_bytes)
        data = bytes(file_system.cat_file(path, start=0, end=max_bytes + 1))
    else:
        with file_system.open(path, "rb") as file:
            size = getattr(file, "size", None)
            check_size(display(url), size if size is not None else _status_at(url).size, max_bytes)
            data = _read(file, max_bytes + 1)
    check_size(display(url), len(data), max_bytes)
    return data


def _read(file: BinaryIO, count: int) -> bytes:
    """At most `count` bytes of a file, whose `read` may return fewer than there are."""
    chunks = []
    while count > 0 and (chunk := file.read(count)):
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)


def _copy(url: str, target: IO[bytes]) -> None:
    file_system, path = _resolve(url)
    with file_system.open(path, "rb") as file:
        shutil.copyfileobj(file, target, COPIED_AT_ONCE)


def _status_at(url: str) -> FileStatus:
    file_system, path = _resolve(url)
    return _status(file_system.info(path))


def _resolve(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system that a URL leads into, and the path there."""
    inner, _, archive = url.partition(CHAIN)
    protocol, path = split_protocol(inner)
    if archive and protocol:
        status = _status_at(archive)
        if status.is_sure:
            return _opened(f"{protocol}://{CHAIN}{archive}", status), path.strip("/")
    file_system, path = url_to_fs(url)
    return file_system, str(path)


@lru_cache(OPEN_ARCHIVES)
def _opened(archive: str, status: FileStatus) -> AbstractFileSystem:
    """An archive of this status, kept open: otherwise each photo would cost reading its whole directory."""
    file_system, _ = url_to_fs(archive)
    file_system.ls("")  # reads the directory before several threads request it
    return file_system


def _uri(file_system: AbstractFileSystem, path: str, archive: str) -> str:
    own = str(file_system.unstrip_protocol(path))
    return f"{own}{CHAIN}{archive}" if archive else own


def _archive(url: str) -> str:
    """The canonical URL of the archive that a URL leads into, or an empty string."""
    archive = url.partition(CHAIN)[2]
    return RemoteStore().canonical(archive) if archive else ""


def _name(path: str) -> str:
    return posixpath.basename(path.rstrip("/"))


def _status(info: Mapping[str, Any]) -> FileStatus:
    modified = next((info[name] for name in MODIFIED if info.get(name)), None)
    version = next((info[name] for name in VERSION if info.get(name)), None)
    return FileStatus(int(info.get("size") or 0), _as_text(modified), None if version is None else str(version))


def _as_text(moment: object) -> str:
    """A store's time as ISO 8601 in UTC, or an empty string if it reports none."""
    if isinstance(moment, tuple):  # ZIP: local time in an unknown zone
        year, month, day, hour, minute, second = moment
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(moment, datetime) else ""


def _requested(
    request: Callable[[], Result],
    trouble: str,
    error: type[LookalikeError],
    missing: type[LookalikeError] | None = None,
) -> Result:
    """The result of a request to a store; any exception of its library becomes one sentence."""
    try:
        return request()
    except LookalikeError:
        raise
    except FileNotFoundError:
        raise (missing or error)(f"{trouble} (it does not exist).", "Check the name.") from None
    except Exception as failure:
        reason = f"{type(failure).__name__}: {display(str(failure))}"
        raise error(f"{trouble} ({reason}).", "Check the name, the network and the store's credentials.") from None
