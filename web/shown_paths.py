"""Paths of photos as everyone may see them: below the library or what was indexed, without the server's own folders."""

import os
import time
from collections.abc import Collection
from contextlib import suppress
from threading import Lock
from urllib.parse import quote_from_bytes, unquote_to_bytes

from indexer.jobs import load_job
from retrieval.errors import NotFound
from retrieval.manifest import is_manifest
from retrieval.photo_ref import display, display_uri, file_name, file_uri, is_url
from retrieval.settings import Settings
from web.uploads import uploads_folder

RESCAN_SECONDS = 2.0  # between two searches for new jobs, whose records name what was indexed


class ShownPaths:
    """Shortens the URIs of photos, and messages that contain paths of the server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roots = {_folder_uri(str(root)) for root in (*settings.library_roots, uploads_folder(settings))}
        named = [str(path) for path in (settings.home, settings.bundle) if path is not None and path.is_absolute()]
        self._own = [*named, *map(os.path.realpath, named)]
        self._sources: set[str] = set()
        self._jobs: set[str] = set()  # whose sources are known
        self._scanned = float("-inf")
        self._lock = Lock()

    def of(self, uri: str) -> str:
        """The path of a photo below a root of the library, otherwise below the source with which it was indexed.

        A photo of an unknown source has only its name.
        """
        return _below(uri, self._roots) or _below(uri, self._indexed()) or file_name(uri)

    def uri_starts(self, path: str) -> list[str]:
        """The beginnings of the URIs of photos with a path, as in `of`, that starts with a text."""
        folders = {*self._roots, *self._indexed()}
        outermost = [folder for folder in folders if not _is_within(folder, folders)]
        return [_joined(folder.partition("::")[0], path) for folder in sorted(outermost)]

    def of_source(self, source: str) -> str:
        """The path of a folder or manifest below a root of the library; otherwise, and for a root, its name."""
        uri = _source_uri(source)
        return _below(uri, self._roots) or file_name(uri) or display(source)

    def without_folders(self, text: str, *uris: str) -> str:
        """A message in which paths of photos are as in `of`, and folders of the server are only names.

        Args:
            uris: the photos that it may name besides those of the library and of known sources.
        """
        for uri in uris:
            text = text.replace(display_uri(uri), self.of(uri)).replace(uri, self.of(uri))
        for folder in (*self._roots, *sorted(self._indexed(), key=len)):
            uri = (folder.rpartition("::")[2].rpartition("/")[0] if "::" in folder else folder).removesuffix("/")
            for written in (uri, display_uri(uri)):
                text = _without(text, written, file_name(uri))
        for folder in self._own:
            text = _without(text, display(folder), display(os.path.basename(folder)))
        return text

    def _indexed(self) -> set[str]:
        """The folders of all sources that were indexed, according to the job records."""
        with self._lock:
            if time.monotonic() - self._scanned > RESCAN_SECONDS:
                self._scan()
                self._scanned = time.monotonic()
            return self._sources

    def _scan(self) -> None:
        with suppress(OSError):  # there are no jobs yet
            for job in set(os.listdir(self._settings.jobs_folder)) - self._jobs:
                with suppress(NotFound):  # it is being written, or damaged
                    self._sources |= {*map(_folder_of, load_job(self._settings, job).sources)}
                    self._jobs.add(job)


def _below(uri: str, folders: Collection[str]) -> str | None:
    """The path of a URI below the outermost of these folders that contains it; None if none does."""
    path, chain, archive = uri.partition("::")
    slash = path.find("/", path.find("/") + 1)
    while slash >= 0:
        if f"{path[: slash + 1]}{chain}{archive}" in folders:
            return display(os.fsdecode(unquote_to_bytes(path[slash + 1 :])))
        slash = path.find("/", slash + 1)
    return None


def _is_within(folder: str, others: Collection[str]) -> bool:
    """Whether another of these folders contains a folder."""
    return any(folder != other and folder.startswith(other) for other in others)


def _joined(folder: str, path: str) -> str:
    """The URI of a path in a folder; URIs of files on this machine are percent-encoded."""
    return folder + (quote_from_bytes(os.fsencode(path)) if folder.startswith("file:") else path)


def _without(text: str, folder: str, name: str) -> str:
    """A message without a folder before the names of its files, and with its name where it is named itself."""
    return text.replace(f"{folder}/", "").replace(folder, name) if folder.strip("/") else text


def _folder_of(source: str) -> str:
    """The canonical URI of a folder, or of the folder of a manifest, with a slash at the end of its path."""
    return _folder_uri(source.rpartition("/")[0] if is_manifest(source) else source)


def _folder_uri(folder: str) -> str:
    path, chain, archive = _source_uri(folder).partition("::")
    return (path if path.endswith("/") else f"{path}/") + chain + archive


def _source_uri(source: str) -> str:
    """The URI of a source: canonical for a local one, otherwise as it was written; no store is queried."""
    return source if source.startswith("file:") or is_url(source) else file_uri(os.path.realpath(source))
