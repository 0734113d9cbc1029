"""`metadata.csv`, `.jsonl` or `.parquet` in a folder of photos, with a column `file_name`.

This is the layout of Hugging Face's ImageFolder: https://huggingface.co/docs/datasets/image_dataset#imagefolder
"""

import os
from contextlib import suppress
from typing import Self

from retrieval.errors import BadSource
from retrieval.listing_report import ListingReport
from retrieval.manifest import PhotoManifest
from retrieval.photo_ref import PhotoRef, display, display_uri, is_url, path_of
from retrieval.source_policy import SourcePolicy
from retrieval.stores import OnSkipped, store_of
from retrieval.stores.base import CHAIN, Entry
from retrieval.table import SUFFIXES, read_table, table_suffix
from retrieval.wording import count_of

NAMES = tuple(f"metadata{suffix}" for suffix in SUFFIXES)
FILE_NAME = "file_name"


class FolderMetadata:
    """The labels, splits and other columns of the photos in a folder and below it, held in memory."""

    def __init__(self, uri: str, folder: str, photos: dict[str, PhotoRef]) -> None:
        self.uri = uri
        self._start = len(folder)
        self._photos = photos
        self._found: set[str] = set()

    @classmethod
    def read(cls, folder: Entry, file: Entry, on_skipped: OnSkipped | None, report: ListingReport) -> Self | None:
        """The metadata of a folder; None if the file has no column `file_name`.

        Raises `BadSource` if, without `on_skipped`, a row names no photo.
        """
        source = file.uri if is_url(file.uri) else os.fspath(path_of(file.uri))
        if not _has_file_names(source):
            return None
        manifest = PhotoManifest(source, SourcePolicy(allow_urls=is_url(source)), strict=False)
        start = len(manifest.folder_uri)
        photos = {_inner(photo.uri)[start:]: photo for photo in manifest.photos(on_skipped, report)}
        return cls(file.uri, _inner(folder.uri).removesuffix("/") + "/", photos)

    def of(self, uri: str) -> PhotoRef | None:
        """What the metadata say about a photo, by its URI; None if they don't name it."""
        key = _inner(uri)[self._start :]
        photo = self._photos.get(key)
        if photo is not None:
            self._found.add(key)
        return photo

    def report_missing(self, report: ListingReport) -> None:
        """Report the photos that the metadata name, but the folder does not have."""
        missing = self._photos.keys() - self._found
        if missing:
            example = display_uri(self._photos[min(missing)].uri)
            report.notice(
                f"{display_uri(self.uri)} names {count_of(len(missing))} that cannot be found, for example {example}."
            )


def _has_file_names(source: str) -> bool:
    with suppress(BadSource), store_of(source).open_file(source) as file:
        for _, row in read_table(file, table_suffix(_inner(source)), display(source), frozenset((FILE_NAME,))):
            return not isinstance(row, BadSource) and FILE_NAME in map(str.lower, row)
    return False


def _inner(uri: str) -> str:
    """A URI without that of the archive."""
    return uri.partition(CHAIN)[0]
