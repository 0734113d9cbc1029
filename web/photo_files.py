"""The files of indexed photos, on this machine or at URLs, and JPEGs of them: thumbnails and renditions."""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from retrieval import formats
from retrieval.decoder import PhotoDecoder
from retrieval.decoding.version import VERSION
from retrieval.errors import LookalikeError, NotFound, UnreadablePhoto
from retrieval.files import write_atomically
from retrieval.photo_ref import PhotoRef, display, file_name, file_uri, is_url, path_of
from retrieval.settings import Settings
from retrieval.stores import read_file
from web.remote_photos import RemotePhotos
from web.uploads import uploads_folder


@dataclass(frozen=True, slots=True)
class Rendition:
    """A kind of JPEGs that are made of photos and cached, in 256 folders."""

    folder: str  # in the cache
    side: int  # the most pixels of a side
    enough: int  # pixels of the shorter side to which a photo may be reduced while it is decoded
    quality: int
    folder_limit: int  # JPEGs in each of the folders


THUMBNAIL = Rendition("thumbnails", side=320, enough=320, quality=82, folder_limit=64)  # about 15 kB each: 250 MB
LARGE = Rendition("renditions", side=2048, enough=1024, quality=85, folder_limit=2)  # about 500 kB each: 250 MB


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """The file of a photo."""

    place: Path | str  # its real path on this machine, or its URL
    name: str  # its file name, as one printable line
    media_type: str | None  # the type as which a browser may display it; None if it can only be downloaded
    tag: str  # identifies this version of the file


class PhotoFiles:
    """The photos that may be served: if there are `library_roots`, those below them and uploads.

    Args:
        settings: the library's roots, and the home, where JPEGs are cached.
        computing: held while a JPEG is computed, but not while waiting for a store.
    """

    def __init__(self, settings: Settings, decoder: PhotoDecoder, computing: AbstractContextManager[object]) -> None:
        self._policy = settings.source_policy()
        roots = self._policy.roots
        folders = [*(root for root in roots if not is_url(root)), str(uploads_folder(settings))] if roots else []
        self._folders = [os.path.realpath(folder) for folder in folders]
        self._remote = RemotePhotos(self._policy)
        self._computing = computing
        self._cache = settings.home / "cache"
        self._decoder = decoder

    def original(self, uri: str) -> PhotoFile:
        """The file of an indexed photo.

        Raises:
            NotFound: it does not exist any more, is not a regular file, or is outside the library.
            LookalikeError: it is at a URL whose store is unavailable.
        """
        if PhotoRef(uri).is_local:
            return self._local(uri)
        with _naming(uri):
            return self._at_url(uri)

    def content(self, photo: PhotoFile) -> bytes:
        """The content of a photo's file.

        Raises:
            NotFound: it can't be read any more.
            LookalikeError: it is at a URL whose store is unavailable.
        """
        if isinstance(photo.place, str):
            with _naming(photo.place):
                return self._remote.content(photo.place)
        with _naming(file_uri(str(photo.place))):
            try:
                return read_file(photo.place, self._policy.max_bytes)
            except UnreadablePhoto as error:
                raise NotFound(error.message, error.remedy) from None

    def thumbnail(self, photo: PhotoFile) -> bytes:
        """A photo as a JPEG, no side longer than 320 pixels; it is cached.

        Raises:
            UnreadablePhoto: the photo is damaged.
            LookalikeError: as `content`.
        """
        return self._jpeg(photo, THUMBNAIL)

    def rendition(self, photo: PhotoFile) -> bytes:
        """A photo as a JPEG, no side longer than 2048 pixels; it is cached. Raises as `thumbnail`."""
        return self._jpeg(photo, LARGE)

    @contextmanager
    def forgetting(self, uri: str) -> Iterator[None]:
        """Within the context, a photo is removed; after it, its JPEGs are deleted from the cache."""
        cached: list[Path] = []
        if PhotoRef(uri).is_local:
            with suppress(LookalikeError):  # its file is gone
                cached = [self._cached(self.original(uri), kind) for kind in (THUMBNAIL, LARGE)]
        yield
        for path in cached:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _cached(self, photo: PhotoFile, kind: Rendition) -> Path:
        return self._cache / kind.folder / photo.tag[:2] / f"{photo.tag}.jpg"

    def _jpeg(self, photo: PhotoFile, kind: Rendition) -> bytes:
        cached = self._cached(photo, kind)
        with suppress(FileNotFoundError):
            if found := cached.read_bytes():
                return found
        data = self.content(photo)
        with self._computing:
            jpeg = make_jpeg(data, self._decoder, kind)
        with suppress(OSError):  # if the disk is full, the JPEG is not cached
            _store(cached, jpeg, kind.folder_limit)
        return jpeg

    def _local(self, uri: str) -> PhotoFile:
        real = Path(os.path.realpath(path_of(uri)))
        with _naming(uri, file_uri(str(real))):
            status = self._status(path_of(uri), real)
        tag = _digest(f"{uri}|{status.st_mtime_ns}|{status.st_size}".encode())
        return PhotoFile(real, display(real.name), shown_type(real.name), tag)

    def _at_url(self, uri: str) -> PhotoFile:
        status, name = self._remote.status(uri), file_name(uri)
        version = repr(status).encode() if status.is_sure else self._remote.content(uri)
        return PhotoFile(uri, name, shown_type(name), _digest(uri.encode() + version))

    def _status(self, path: Path, real: Path) -> os.stat_result:
        """The status of a local photo, whose path may be a symbolic link to the real one."""
        if self._folders and not any(os.path.commonpath((root, real)) == root for root in self._folders):
            raise NotFound(f"{display(path)} is outside the library.", "Add its folder to LOOKALIKE_LIBRARY_ROOTS.")
        with suppress(OSError):
            status = real.stat()
            if stat.S_ISREG(status.st_mode):
                return status
        raise NotFound(
            f"{display(real)} is indexed, but no longer on disk.",
            "Put it back, or run `lookalike index FOLDER --sync`.",
        )


def make_jpeg(data: bytes, decoder: PhotoDecoder, kind: Rendition = THUMBNAIL) -> bytes:
    """An encoded photo as a JPEG; raises `UnreadablePhoto`."""
    with decoder.open(data, enough=kind.enough) as photo:
        image = photo.within(kind.side)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=kind.quality, optimize=True)
    return buffer.getvalue()


def shown_type(name: str) -> str | None:
    """The media type as which browsers display the file of this name, or None if it can only be downloaded."""
    format = formats.by_file_name(name)
    return format.media_type if format and format.is_shown else None


def _store(path: Path, data: bytes, limit: int) -> None:
    """Store a JPEG; if the folder is full, delete the oldest ones."""
    others = sorted(path.parent.glob("*.jpg"), key=lambda other: other.stat().st_mtime)
    for oldest in others[: max(0, len(others) - limit + 1)]:
        oldest.unlink(missing_ok=True)
    write_atomically(path, data, durable=False)


def _digest(version: bytes) -> str:
    return hashlib.sha256(version + bytes([VERSION])).hexdigest()[:32]


@contextmanager
def _naming(*uris: str) -> Iterator[None]:
    """Within the context, errors name these photos."""
    try:
        yield
    except LookalikeError as error:
        error.uris = uris
        raise
