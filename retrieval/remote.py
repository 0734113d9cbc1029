"""Photos at URLs, through fsspec: `s3://`, `http(s)://`, `memory://`, `zip://inner::URL` and what else is installed.

The canonical URI of such a photo is its URL as fsspec writes it, not percent-encoded: `s3://bucket/roses/1.jpg`; in an
archive, followed by the archive's own: `zip://roses/1.jpg::file:///photos.zip`. Credentials and endpoints come from
each store's own configuration (for S3 the `AWS_*` variables), or from fsspec's (`FSSPEC_S3_ENDPOINT_URL`).
"""

import io
import posixpath
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO, TypeVar

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs

from retrieval.errors import BadSource, LookalikeError, MissingPhoto, UnreadablePhoto
from retrieval.images import SUFFIXES
from retrieval.listing import LabelFrom, OnUnlistable
from retrieval.photos import FileStatus, PhotoRef, display

MODIFIED = ("LastModified", "last_modified", "mtime", "modified", "created", "date_time")  # as the stores call it
VERSION = ("ETag", "etag", "CRC")
CHAIN = "::"
ARCHIVES = 2  # that are open at a time, with their directories in memory

Result = TypeVar("Result")


def canonical(url: str) -> str:
    """The one way to write a URL; raises `BadSource` where nothing here understands it."""
    store, path = _open(url)
    return _uri(store, path, _archive(url))


def list_url(url: str, label_from: LabelFrom, on_unlistable: OnUnlistable | None) -> Iterator[PhotoRef]:
    """The photos below a URL, searched in depth, with their sizes and versions; see `retrieval.listing.list_photos`.

    One folder's listing is in memory at a time.

    Raises:
        BadSource: the URL can't be listed, nor, without `on_unlistable`, a folder below it.
    """
    store, top = _open(url)
    archive = _archive(url)
    folders = [(top, posixpath.basename(top.rstrip("/")))]
    while folders:
        folder, label = folders.pop()
        uri = _uri(store, folder, archive)
        try:
            entries = _entries(store, folder, uri)
        except BadSource as error:
            if on_unlistable is None or folder == top:
                raise
            on_unlistable(uri, error.message)
            continue
        below = [entry["name"] for entry in entries if entry["type"] == "directory"]
        folders.extend(
            (name, posixpath.basename(name.rstrip("/")) if folder == top else label) for name in reversed(below)
        )
        for entry in entries:
            name = entry["name"]
            if entry["type"] == "file" and posixpath.splitext(name)[1].lower() in SUFFIXES:
                photo_label = display(label) if label_from == "folder" else None
                yield PhotoRef(_uri(store, name, archive), photo_label, status=_status(entry))


def open_manifest(url: str) -> TextIO:
    """The text of a manifest at a URL; raises `BadSource` where it can't be had."""
    data = _asked(lambda: _cat(url), f"{display(url)} can't be read", BadSource)
    return io.StringIO(data.decode("utf-8-sig", errors="surrogateescape"), newline="")


def is_folder(url: str) -> bool:
    """Whether there is a folder at a URL; raises `BadSource` where its store can't be asked."""
    store, path = _open(url)
    return _asked(lambda: bool(store.isdir(path)), f"{display(url)} can't be reached", BadSource)


def read_url(uri: str) -> bytes:
    """The content of a photo; raises `UnreadablePhoto` where it can't be had, `MissingPhoto` where it is gone."""
    return _asked(lambda: _cat(uri), f"{display(uri)} can't be read", UnreadablePhoto, MissingPhoto)


def url_status(uri: str) -> FileStatus:
    """The size and version of a photo; raises as `read_url` does."""
    return _asked(lambda: _status_at(uri), f"{display(uri)} can't be read", UnreadablePhoto, MissingPhoto)


def prefix(url: str) -> tuple[str, str]:
    """What the canonical URIs of all photos below a URL start with, and, in an archive, end with."""
    inner, chained, archive = canonical(url).partition(CHAIN)
    return inner.rstrip("/") + "/", chained + archive


def _open(url: str) -> tuple[AbstractFileSystem, str]:
    return _asked(lambda: _store(url), f"{display(url)} can't be used", BadSource)


def _cat(url: str) -> bytes:
    store, path = _store(url)
    return bytes(store.cat_file(path))


def _status_at(url: str) -> FileStatus:
    store, path = _store(url)
    return _status(store.info(path))


def _store(url: str) -> tuple[AbstractFileSystem, str]:
    """The store that a URL leads into, and the path there."""
    inner, _, archive = url.partition(CHAIN)
    protocol, path = split_protocol(inner)
    if archive and protocol:
        status = _status_at(archive)
        if status.is_sure:
            return _opened(f"{protocol}://{CHAIN}{archive}", status), path.strip("/")
    store, path = url_to_fs(url)
    return store, str(path)


@lru_cache(ARCHIVES)
def _opened(archive: str, status: FileStatus) -> AbstractFileSystem:
    """An archive, by its status the same one, that stays open: each photo would cost reading its whole directory."""
    store, _ = url_to_fs(archive)
    store.ls("")  # reads the directory before several threads ask for it
    return store


def _entries(store: AbstractFileSystem, folder: str, uri: str) -> list[dict[str, Any]]:
    """What a folder holds, without the entry that some stores keep for the folder itself."""

    def ask() -> list[dict[str, Any]]:
        store.invalidate_cache(folder)
        found: list[dict[str, Any]] = store.ls(folder, detail=True)
        store.invalidate_cache(folder)
        return found

    entries = _asked(ask, f"{display(uri)} can't be listed", BadSource)
    others = (entry for entry in entries if entry["name"].rstrip("/") != folder.rstrip("/"))
    return sorted(others, key=lambda entry: str(entry["name"]))


def _uri(store: AbstractFileSystem, path: str, archive: str) -> str:
    own = str(store.unstrip_protocol(path))
    return f"{own}{CHAIN}{archive}" if archive else own


def _archive(url: str) -> str:
    """The canonical URL of the archive that a URL leads into; empty where it leads into none."""
    archive = url.partition(CHAIN)[2]
    return canonical(archive) if archive else ""


def _status(info: Mapping[str, Any]) -> FileStatus:
    modified = next((info[name] for name in MODIFIED if info.get(name)), None)
    version = next((info[name] for name in VERSION if info.get(name)), None)
    return FileStatus(int(info.get("size") or 0), _as_text(modified), None if version is None else str(version))


def _as_text(moment: object) -> str:
    """A store's time as ISO 8601 in UTC; empty where it gives none."""
    if isinstance(moment, tuple):  # ZIP: local time, by whatever clock
        year, month, day, hour, minute, second = moment
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if isinstance(moment, int | float):
        moment = datetime.fromtimestamp(moment, UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds") if isinstance(moment, datetime) else ""


def _asked(
    request: Callable[[], Result],
    trouble: str,
    error: type[LookalikeError],
    missing: type[LookalikeError] | None = None,
) -> Result:
    """The answer of a store; a sentence where it fails, in whatever way its library does."""
    try:
        return request()
    except LookalikeError:
        raise
    except FileNotFoundError:
        raise (missing or error)(f"{trouble} (there is no such thing).", "Check the name.") from None
    except Exception as failure:
        reason = f"{type(failure).__name__}: {display(str(failure))}"
        raise error(f"{trouble} ({reason}).", "Check the name, the network and the store's credentials.") from None
