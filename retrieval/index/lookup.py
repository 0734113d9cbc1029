"""Points by their content and by their further names, in an SQLite file beside an Edge shard.

A payload index of Edge for the contents would take 400 bytes of memory for each photo, and points with a changed value
of an indexed field would leave the graph. This file takes no memory.
"""

import hashlib
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

from retrieval.files import flush
from retrieval.index.base import MOST_COPIES
from retrieval.index.payload import Payload
from retrieval.photo_ref import photo_id

CREATE = "CREATE TABLE points (key BLOB, id BLOB, PRIMARY KEY (key, id)) WITHOUT ROWID"
INSERT = "INSERT OR IGNORE INTO points VALUES (?, ?)"
SELECT = "SELECT id FROM points WHERE key = ? LIMIT ?"


class Lookup:
    """Maps contents and names to the ids of points; what it finds has to be compared with the points themselves.

    Entries are only added. When a method returns, its changes survive a power failure. An index of an older version has
    no such file; it has to be created first.

    Raises `sqlite3.Error` if the file can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def exists(self) -> bool:
        """Whether the file has been created, and is not damaged."""
        with self._lock:
            if self._database is None and self._path.exists():
                try:
                    self._database = _opened(self._path)
                except sqlite3.OperationalError:
                    raise
                except sqlite3.DatabaseError:
                    return False
            return self._database is not None

    def create(self, points: Iterable[tuple[uuid.UUID, Payload]] = ()) -> None:
        """Create the file with entries for these points, in one step; it replaces another one."""
        unfinished = self._path.with_suffix(".unfinished")
        with self._lock:
            self._close()
            for file in self._path.parent.glob(f"{self._path.stem}.*"):
                file.unlink()
            with closing(sqlite3.connect(unfinished)) as database, database:
                database.execute(CREATE)
                database.executemany(INSERT, _entries(points))
            unfinished.replace(self._path)
            flush(self._path.parent)
            self._database = _opened(self._path)

    def add(self, points: Iterable[tuple[uuid.UUID, Payload]]) -> None:
        """Add entries for these points."""
        with self._lock, self._connection as database:
            database.executemany(INSERT, _entries(points))

    def find(self, values: Iterable[str]) -> list[uuid.UUID]:
        """Return the ids of the points that were added with these contents or further names."""
        with self._lock:
            found = {row for value in values for row in self._connection.execute(SELECT, (_key(value), MOST_COPIES))}
        return [uuid.UUID(bytes=photo) for (photo,) in found]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    @property
    def _connection(self) -> sqlite3.Connection:
        return cast(sqlite3.Connection, self._database)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("SELECT id FROM points LIMIT 1")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _entries(points: Iterable[tuple[uuid.UUID, Payload]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of points: the content, and the names from which the id does not follow."""
    for photo, payload in points:
        names = [] if photo == photo_id(payload.uri) else [payload.uri]
        for value in (payload.sha256, *names, *payload.also_at):
            yield _key(value), photo.bytes


def _key(value: str) -> bytes:
    return hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=16).digest()
