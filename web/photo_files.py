"""Indexed photos as files, here or at URLs: the original, and a thumbnail made when first asked for."""

import hashlib
import io
import os
import stat
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from retrieval import formats
from retrieval.decoder import PhotoDecoder
from retrieval.errors import BadQuery, NotFound, UnreadablePhoto
from retrieval.files import write_atomically
from retrieval.photo_ref import PhotoRef, display, file_name, is_url, path_of
from retrieval.settings import Settings
from retrieval.stores import read_file
from web.remote_photos import RemotePhotos
from web.uploads import uploads_folder

THUMBNAIL_SIDE = 320
THUMBNAIL_QUALITY = 82
# 256 folders of 64 thumbnails of some 15 kB: the cache stays below about 250 MB.
FOLDER_LIMIT = 64


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo's file.

    Args:
        place: its real path on this machine, or its URL.
        name: what it is called, as one printable line.
        media_type: what a browser may show it as; None where it may only be downloaded.
        tag: a name of this version of the file.
    """

    place: Path | str
    name: str
    media_type: str | None
    tag: str


class PhotoFiles:
    """The photos that may be given out: with `library_roots`, those below them or uploaded.

    Args:
        settings: the library's roots, and the home, where thumbnails are stored.
        decoder: decodes photos for thumbnails.
        computing: held while a thumbnail is made, and not while a store is waited for.
    """

    def __init__(self, settings: Settings, decoder: PhotoDecoder, computing: AbstractContextManager[object]) -> None:
        policy = settings.source_policy()
        roots = policy.roots
        folders = [*(root for root in roots if not is_url(root)), str(uploads_folder(settings))] if roots else []
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._remote = RemotePhotos(policy)
        self._computing = computing
        self._cache = settings.home / "cache" / "thumbnails"
        self._decoder = decoder

    def original(self, uri: str) -> PhotoFile:
        """The file of an indexed photo.

        Raises:
            NotFound: it is gone, is no regular file, or lies outside the library.
            LookalikeError: it is at a URL whose store can't be reached.
        """
        return self._local(uri) if PhotoRef(uri).is_local else self._at_url(uri)

    def content(self, photo: PhotoFile) -> bytes:
        """What a photo's file holds.

        Raises:
            NotFound: it can't be read any more.
            LookalikeError: it is at a URL whose store can't be reached.
        """
        if isinstance(photo.place, str):
            return self._remote.content(photo.place)
        try:
            return read_file(photo.place)
        except UnreadablePhoto as error:
            raise NotFound(error.message, error.remedy) from None

    def source(self, name: str) -> str:
        """A folder or manifest within the library, by its path, absolute or below one of the library's folders.

        Raises:
            BadQuery: it lies elsewhere, or nowhere.
        """
        if is_url(name):
            raise BadQuery(f"{display(name)} is a URL.", "Index it with `lookalike index` on the server.")
        for root in self._folders:
            path = os.path.realpath(os.path.join(root, name))
            if os.path.commonpath((root, path)) == root and os.access(path, os.F_OK):
                return path
        raise BadQuery(
            f"{display(name)} is nothing within the library.",
            "Name a folder or manifest below one of LOOKALIKE_LIBRARY_ROOTS."
            if self._folders
            else "LOOKALIKE_LIBRARY_ROOTS must name the folders that may be indexed over HTTP.",
        )

    def thumbnail(self, photo: PhotoFile) -> bytes:
        """A photo as a JPEG, no side longer than 320 pixels; kept for the next time.

        Raises:
            UnreadablePhoto: it is damaged.
            LookalikeError: as `content`.
        """
        kept = self._cache / photo.tag[:2] / f"{photo.tag}.jpg"
        with suppress(FileNotFoundError):
            return kept.read_bytes()
        data = self.content(photo)
        with self._computing:
            made = make_thumbnail(data, self._decoder)
        with suppress(OSError):  # a full disk costs time, not the answer
            _keep(kept, made)
        return made

    def _local(self, uri: str) -> PhotoFile:
        path = self._real_path(uri)
        try:
            status = path.stat()
        except OSError:
            raise _gone(path) from None
        if not stat.S_ISREG(status.st_mode):
            raise _gone(path)
        tag = _digest(f"{uri}|{status.st_mtime_ns}|{status.st_size}".encode())
        return PhotoFile(path, display(path.name), shown_type(path.name), tag)

    def _at_url(self, uri: str) -> PhotoFile:
        status, name = self._remote.status(uri), file_name(uri)
        version = repr(status).encode() if status.is_sure else self._remote.content(uri)
        return PhotoFile(uri, name, shown_type(name), _digest(uri.encode() + version))

    def _real_path(self, uri: str) -> Path:
        path = path_of(uri)
        real = os.path.realpath(path)
        if self._folders and not any(os.path.commonpath((root, real)) == root for root in self._folders):
            raise NotFound(f"{display(path)} lies outside the library.", "Add its folder to LOOKALIKE_LIBRARY_ROOTS.")
        return Path(real)


def make_thumbnail(data: bytes, decoder: PhotoDecoder) -> bytes:
    """An encoded photo as a JPEG, no side longer than 320 pixels; raises `UnreadablePhoto`."""
    image = decoder.decode(data, enough=THUMBNAIL_SIDE)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return buffer.getvalue()


def shown_type(name: str) -> str | None:
    """The media type as which browsers display the file of this name, or None if it can only be downloaded."""
    format = formats.by_file_name(name)
    return format.media_type if format and format.is_shown else None


def _keep(path: Path, data: bytes) -> None:
    """Keep a thumbnail; where its folder is full, the oldest ones make room."""
    others = sorted(path.parent.glob("*.jpg"), key=lambda other: other.stat().st_mtime)
    for oldest in others[: max(0, len(others) - FOLDER_LIMIT + 1)]:
        oldest.unlink(missing_ok=True)
    write_atomically(path, data)


def _digest(version: bytes) -> str:
    return hashlib.sha256(version).hexdigest()[:32]


def _gone(path: Path) -> NotFound:
    return NotFound(
        f"{display(path)} is indexed, but no longer on disk.", "Put it back, or run `lookalike index FOLDER --sync`."
    )
