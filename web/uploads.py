"""Photos added over HTTP: files below the home, one folder a label, so that `lookalike index` finds them there, too."""

import hashlib
import io
import os
from contextlib import suppress
from pathlib import Path

from PIL import Image

from indexer.batch import BatchIndexer
from retrieval.errors import BadQuery, LookalikeError, UnreadablePhoto
from retrieval.files import write_atomically
from retrieval.images import FORMATS
from retrieval.photos import PhotoRef, path_of, uri_of
from retrieval.search import Searcher
from retrieval.settings import Settings

SUFFIX_OF = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "AVIF": ".avif",
}


def uploads_folder(settings: Settings) -> Path:
    """Where the photos lie: `labelled/LABEL/…`, and `unlabelled/…`."""
    return settings.home / "uploads"


class Uploads:
    """Adds photos to the index and to the folder of uploads, and removes them.

    Files are named by their content, never by what a client calls them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = uploads_folder(settings)

    def add(self, searcher: Searcher, data: bytes, label: str | None) -> PhotoRef:
        """Keep a photo's file and index it; one that is there already stays as it is.

        Raises:
            UnreadablePhoto: it is no photo, or the model has no embedding for it; nothing is kept.
            BadQuery: the label can't be a folder's name.
            LookalikeError: the disk or the index refuses; nothing is kept.
        """
        path = self._folder_of(label) / f"{hashlib.sha256(data).hexdigest()}{_suffix(data)}"
        is_new = not path.exists()
        try:
            if is_new:
                write_atomically(path, data)
        except OSError as error:
            raise LookalikeError(f"The photo can't be kept ({error.strerror}).", "Make room on the server.") from None
        photo = PhotoRef(uri_of(path), label)
        try:
            self._index(searcher, photo)
        except LookalikeError:
            if is_new:
                path.unlink(missing_ok=True)
            raise
        return photo

    def forget(self, uri: str) -> None:
        """Delete a photo's file, if it came over HTTP; a library's photos are left alone."""
        with suppress(UnreadablePhoto):  # it is not on this machine
            path = path_of(uri)
            if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self._folder)):
                path.unlink(missing_ok=True)

    def _index(self, searcher: Searcher, photo: PhotoRef) -> None:
        with BatchIndexer(searcher.embedder, searcher.index, self._settings.max_pixels) as indexer:
            (outcome,) = indexer.run([photo])
        for failure in outcome.failures:
            raise UnreadablePhoto(failure.reason)

    def _folder_of(self, label: str | None) -> Path:
        if label is None:
            return self._folder / "unlabelled"
        if label.startswith(".") or "/" in label or not label.isprintable() or len(label.encode()) > 255:
            raise BadQuery(
                "This label can't be a folder's name.",
                "Give one of at most 255 bytes, without slashes and control characters, that starts with no dot.",
            )
        return self._folder / "labelled" / label


def _suffix(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return SUFFIX_OF[image.format or ""]
    except Exception:  # every decoder has its own exceptions
        raise UnreadablePhoto("It is not a photo of a known format.", "Send another one.") from None
