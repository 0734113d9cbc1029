"""Uploaded query photos, kept for a limited time, so that all pages of their results use the same embedding.

They are files in the home, so that each process of the server finds the queries of the others.
"""

import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from threading import Event

import numpy as np
import numpy.typing as npt

from retrieval.files import flush, write_atomically
from retrieval.index.vectors import Vector
from retrieval.settings import Settings

MOST_BYTES = 500_000_000  # of all kept queries; above that, the oldest are deleted early
MOST_PINNED_BYTES = 500_000_000  # of the queries of saved searches; above that, no more are pinned
SWEEP_SECONDS = 30.0
TOKEN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class KeptQuery:
    """An uploaded photo, its preview, a JPEG, and the embedding of the part that was searched, float32 [d].

    `sha256` is that of the file that the user chose; the browser may have sent a smaller copy of it.
    """

    vector: Vector
    photo: bytes
    preview: bytes
    sha256: str = ""


class KeptQueries:
    """Keeps uploaded queries for `LOOKALIKE_QUERY_KEEP_MINUTES`, or none if that is 0.

    Those of saved searches are pinned: they are kept as long as a search needs them.
    """

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.home / "queries"
        self._pinned = settings.home / "searches"
        self._seconds = settings.query_keep_minutes * 60
        self._swept = float("-inf")

    def keep(self, query: KeptQuery) -> str:
        """Keep a query; return the token by which `find` finds it, or an empty text if it can't be kept."""
        if not self._seconds:
            return ""
        token = secrets.token_hex(16)
        stored = io.BytesIO()
        np.savez(
            stored,
            vector=query.vector,
            photo=_array(query.photo),
            preview=_array(query.preview),
            sha256=_array(query.sha256.encode()),
        )
        try:
            write_atomically(self._folder / _file(token), stored.getvalue(), durable=False)
        except OSError:  # for example, the disk is full
            return ""
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self.sweep()
        return token

    def find(self, token: str) -> KeptQuery | None:
        """Return a query; None if it is no longer kept, or was never."""
        if not TOKEN.fullmatch(token):
            return None
        return self._load(self._pinned / _file(token)) or self._load(self._folder / _file(token), self._seconds)

    def pin(self, token: str) -> bool:
        """Keep a query until `unpin_others`; return False if it is no longer kept, or `MOST_PINNED_BYTES` are pinned.

        Raises `OSError` if its file can't be copied.
        """
        source, target = self._folder / _file(token), self._pinned / _file(token)
        if self.is_pinned(token):
            return True
        if self.find(token) is None or sum(size for _, size, _ in _files(self._pinned)) > MOST_PINNED_BYTES:
            return False
        unfinished = target.with_suffix(".unfinished")
        shutil.copyfile(source, unfinished)
        flush(unfinished)
        unfinished.replace(target)
        return True

    def is_pinned(self, token: str) -> bool:
        """Whether a query is kept until `unpin_others`."""
        return bool(TOKEN.fullmatch(token)) and (self._pinned / _file(token)).exists()

    def unpin_others(self, tokens: Collection[str]) -> None:
        """Delete the pinned queries whose tokens are not among these."""
        for path in self._pinned.glob("*.npz"):
            if path.stem not in tokens:
                path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete the queries that are too old, and the oldest ones above `MOST_BYTES`."""
        self._swept = time.monotonic()
        total = 0
        for modified, size, name in sorted(_files(self._folder), reverse=True):
            total += size
            if time.time() - modified > self._seconds or total > MOST_BYTES:
                (self._folder / name).unlink(missing_ok=True)

    def sweep_until(self, stopping: Event) -> None:
        """Sweep regularly until the server stops, so that photos are deleted in time even without searches."""
        self.sweep()
        while not stopping.wait(SWEEP_SECONDS):
            self.sweep()

    def _load(self, path: Path, seconds: float = inf) -> KeptQuery | None:
        """Return the query of a file; None if it is older than some seconds, or can't be read."""
        try:
            if time.time() - path.stat().st_mtime > seconds:
                return None
            with np.load(path) as stored:
                sha256 = stored["sha256"].tobytes().decode()
                return KeptQuery(stored["vector"], stored["photo"].tobytes(), stored["preview"].tobytes(), sha256)
        except Exception:  # deleted meanwhile, or damaged: the readers of zip and npy have many exceptions
            return None


def _files(folder: Path) -> Iterator[tuple[float, int, str]]:
    """The time, size and name of each file in a folder."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process has deleted it
                    status = entry.stat()
                    yield status.st_mtime, status.st_size, entry.name


def _file(token: str) -> str:
    """The name of the file of a query."""
    return f"{token}.npz"


def _array(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)
