"""Photos added over HTTP, stored in a folder per label in the home, which `lookalike index` can read."""

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock

from indexer.batch import BatchIndexer
from indexer.corrections import Corrections, PhotoChange
from indexer.exclusions import exclude_photo
from indexer.index_columns import IndexColumns
from retrieval import formats
from retrieval.decoding.opening import open_image
from retrieval.errors import BadQuery, LookalikeError, UnreadablePhoto, os_errors_as
from retrieval.files import flush, make_folder, write_atomically
from retrieval.index import VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import PhotoRef, Value, uri_of
from retrieval.search import Searcher
from retrieval.settings import Settings
from retrieval.walk import is_system_folder

CONTENTS = ".contents"  # the folder of the locks of contents
Columns = Mapping[str, Value | None]
NO_COLUMNS: Columns = MappingProxyType({})


def uploads_folder(settings: Settings) -> Path:
    """Return the folder of the photos, which contains `labelled/LABEL/…` and `unlabelled/…`."""
    return settings.home / "uploads"


@dataclass(frozen=True, slots=True)
class AddedPhoto:
    """A photo that was added, and the label that it had if the same content was added before with another one."""

    id: uuid.UUID
    replaced_label: str | None = None


class Uploads:
    """Adds photos to the index and to the folder of uploads, and removes them.

    When a method returns, its changes survive a power failure. Files are named by their content, not by the name that a
    client sends. The folder of a label is locked while one of its photos is added or removed, so that file and point
    stay consistent, and a content while it is added, so that there is one photo of it. `computing` is held while a
    photo is embedded.
    """

    def __init__(self, settings: Settings, computing: AbstractContextManager[object], corrections: Corrections) -> None:
        self._computing = computing
        self._corrections = corrections
        self._folder = uploads_folder(settings)

    def add(
        self, searcher: Searcher, data: bytes, label: str | None, columns: Columns = NO_COLUMNS, key: str | None = None
    ) -> AddedPhoto:
        """Store the file of a photo and index it; of a content that was added before, there is still one photo.

        That photo gets the label and columns, unless a person has confirmed its label, and keeps its file. On an error
        nothing is stored.

        Args:
            columns: values of columns, by name; None removes a value.
            key: the name of the API key with which it is added.

        Raises:
            UnreadablePhoto: if it is not a photo, or the model has no embedding for it.
            BadQuery: if the label can't be the name of a folder, or a value is not of the kind of its column.
            LookalikeError: if file or point can't be written.
        """
        index, sha256 = searcher.index, hashlib.sha256(data).hexdigest()
        path = self._path_of(data, label)
        IndexColumns(index).accept(columns)
        with _storing(self._folder / CONTENTS / sha256[:2]):
            known = self._known(index, sha256)
            photo = self._add(searcher, data, path, label) if known is None else known
            keeps = label is None or photo.payload.confirmed or photo.payload.label == label
            if keeps and not columns:
                return AddedPhoto(photo.id)
            change = PhotoChange(columns=columns) if keeps else PhotoChange(label, columns, confirmed=False)
            self._corrections.correct(index, photo.id, change, key)
            return AddedPhoto(photo.id, None if keeps or known is None else photo.payload.label)

    def _add(self, searcher: Searcher, data: bytes, path: Path, label: str | None) -> IndexedPhoto:
        photo = PhotoRef(uri_of(path), label)
        with _storing(path.parent):
            is_new = not path.exists()
            if is_new:
                write_atomically(path, data)
            try:
                self._index(searcher, photo)
            except LookalikeError:
                if is_new:
                    with suppress(LookalikeError):
                        searcher.index.delete([one.id for one in searcher.index.named([photo.uri]).values()])
                    _delete(path)
                raise
            return searcher.index.named([photo.uri])[photo.uri]

    def _known(self, index: VectorIndex, sha256: str) -> IndexedPhoto | None:
        """The photo with a content among those that were added over HTTP, and with its file; None if there is none."""
        found = sorted(index.with_content([sha256]).items(), key=lambda one: (one[1].indexed_at, one[1].uri))
        photos = (IndexedPhoto(photo, payload) for photo, payload in found)
        return next(
            (one for one in photos if self._holds(file := PhotoRef(one.payload.uri)) and file.path.exists()), None
        )

    def store(self, data: bytes, label: str | None) -> Path:
        """Store the file of a photo, for a job to index, and return its path.

        Raises:
            UnreadablePhoto: if it is not a photo.
            BadQuery: if the label can't be the name of a folder.
            LookalikeError: if the file can't be written.
        """
        path = self._path_of(data, label)
        with _storing(path.parent):
            if not path.exists():
                write_atomically(path, data)
        return path

    def remove(self, index: VectorIndex, photo: IndexedPhoto, *, forget: bool = False) -> None:
        """Remove a photo from the index; its file is deleted if it was uploaded, but never from a library.

        A photo of a library is left out of jobs until it is restored; `forget` lets the next job add it again.
        """
        file = PhotoRef(photo.payload.uri)
        if not self._holds(file):
            if forget:
                _remove(index, photo)
            else:
                exclude_photo(index, photo)
            return
        failing = os_errors_as(LookalikeError, "The photo's file can't be deleted", "Correct its permissions.")
        with failing, _lock(file.path.parent):
            _remove(index, photo)
            _delete(file.path)

    def _holds(self, photo: PhotoRef) -> bool:
        """Whether a photo's file is in the folder of uploads, with symbolic links resolved."""
        return photo.is_local and Path(os.path.realpath(photo.path)).is_relative_to(os.path.realpath(self._folder))

    def _index(self, searcher: Searcher, photo: PhotoRef) -> None:
        making = BatchIndexer(
            searcher.embedder,
            searcher.index,
            searcher.decoder,
            heeds_removals=False,
            corrections=self._corrections,
        )
        with self._computing, making as indexer:
            (outcome,) = indexer.run([photo])
        for failure in outcome.failures:
            raise UnreadablePhoto(failure.reason)

    def _path_of(self, data: bytes, label: str | None) -> Path:
        return self._folder_of(label) / f"{hashlib.sha256(data).hexdigest()}{_suffix(data)}"

    def _folder_of(self, label: str | None) -> Path:
        if label is None:
            return self._folder / "unlabelled"
        is_skipped = label.startswith(".") or is_system_folder(label)
        if is_skipped or "/" in label or not label.isprintable() or len(label.encode()) > 255:
            raise BadQuery(
                "This label can't be the name of a folder.",
                "A label has at most 255 bytes and no slashes or control characters, does not start with a dot, and is "
                "not the name of a system folder.",
            )
        return self._folder / "labelled" / label


def _remove(index: VectorIndex, photo: IndexedPhoto) -> None:
    index.delete([photo.id])
    index.flush()


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    flush(path.parent)


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    """Within the context, a photo is stored in a folder, which is locked."""
    with os_errors_as(LookalikeError, "The photo can't be stored", "Free disk space on the server."), _lock(folder):
        yield


def _lock(folder: Path) -> FileLock:
    """A lock on a folder, which is created if it does not exist, for all threads and processes of this machine."""
    make_folder(folder)
    return FileLock(folder / ".lock", poll_interval=0.01)


def _suffix(data: bytes) -> str:
    try:
        return formats.by_name(open_image(data).format).suffixes[0]
    except UnreadablePhoto:
        raise
    except Exception:  # every decoder has its own exceptions
        raise UnreadablePhoto("It is not a photo of a known format.", "Send another one.") from None
