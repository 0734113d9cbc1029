"""The folders that may be indexed over HTTP."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter

from retrieval.errors import BadQuery
from retrieval.files import write_atomically
from retrieval.photo_ref import display, is_url
from retrieval.settings import Settings
from web.uploads import uploads_folder

CHOSEN = "library.json"  # in the home
FOLDERS = TypeAdapter(list[str])


class Library:
    """The folders that may be indexed over HTTP: those below `LOOKALIKE_LIBRARY_ROOTS`, and uploaded photos.

    If no roots are set and the server listens on a loopback address, administrators may choose any folder. Chosen
    folders are kept in the home: everyone who may write may index them again.

    Args:
        settings: name the roots and the home.
        local: whether the server listens on a loopback address.
    """

    def __init__(self, settings: Settings, local: bool) -> None:
        self._roots = [os.path.realpath(root) for root in settings.library_roots if not is_url(root)]
        self._uploads = os.path.realpath(uploads_folder(settings))
        self._file = settings.home / CHOSEN
        self.is_open = local and not settings.library_roots  # whether administrators may choose any folder

    def folders(self) -> list[Path]:
        """Return the roots or, if there are none, the chosen folders that still exist."""
        return [path for path in map(Path, self._roots or self._chosen()) if path.is_dir()]

    def source(self, name: str, *, any_folder: bool = False) -> str:
        """Return the real path of a folder or manifest in the library.

        Args:
            name: its absolute path, or its path relative to one of the folders.
            any_folder: whether the request may choose any folder of an open library.

        Raises:
            BadQuery: it is not in the library, or does not exist.
        """
        if is_url(name):
            raise BadQuery(f"{display(name)} is a URL.", "Index it with `lookalike index` on the server.")
        folders = [*(self._roots or self._chosen()), self._uploads]
        is_any = any_folder and self.is_open and Path(name).is_absolute()
        for root in ["/", *folders] if is_any else folders:
            path = os.path.realpath(os.path.join(root, name))
            if os.path.commonpath((root, path)) == root and os.access(path, os.R_OK):
                return path
        if is_any:
            raise BadQuery(f"{display(name)} does not exist on the server, or can't be read.", "Correct the path.")
        raise BadQuery(f"{display(name)} is not in the library.", self._remedy(any_folder))

    def keep(self, sources: Iterable[str]) -> None:
        """Remember the folders of sources that were chosen in an open library."""
        if not self.is_open:
            return
        named = (source if Path(source).is_dir() else os.path.dirname(source) for source in sources)
        with FileLock(self._file.with_suffix(".lock")):
            known = self._chosen()
            added = [one for one in named if not any(_is_below(one, folder) for folder in [*known, self._uploads])]
            if added:
                write_atomically(self._file, json.dumps([*known, *dict.fromkeys(added)], indent=2) + "\n")

    def _chosen(self) -> list[str]:
        """Return the chosen folders; none if roots are set."""
        if not self.is_open:
            return []
        with suppress(OSError, ValueError):  # not written yet, or damaged
            return FOLDERS.validate_python(json.loads(self._file.read_bytes()))
        return []

    def _remedy(self, any_folder: bool) -> str:
        if self._roots:
            return "Name a folder or manifest below one of LOOKALIKE_LIBRARY_ROOTS."
        if self.is_open and not any_folder:
            return "Choose it with a key of the scope admin, or set LOOKALIKE_LIBRARY_ROOTS."
        if self.is_open:
            return "Give its absolute path."
        return "LOOKALIKE_LIBRARY_ROOTS must name the folders that may be indexed over HTTP."


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath((folder, path)) == folder
