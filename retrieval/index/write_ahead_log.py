"""The write-ahead log of an Edge shard.

When Edge opens a shard, it repeats the writes of its log that its other files lack. Therefore flushing the log makes
writes survive a power failure. It takes a few milliseconds; Edge's own `flush`, which writes all files, takes 0.1 to
0.2 seconds, and holds Python's global interpreter lock meanwhile.
"""

from pathlib import Path

from retrieval.files import flush

OPEN = "open-"  # segments of the log that are written, or will be next; others have the prefix "tmp-" until they exist
CLOSED = "closed-"  # segments that are full, and do not change


class WriteAheadLog:
    """The log of a shard; the caller makes sure that nothing is written while it is flushed."""

    def __init__(self, shard: Path) -> None:
        self._folder = shard / "wal"
        self._flushed: frozenset[str] = frozenset()

    def flush(self) -> None:
        """Flush the log to the disk; raises `OSError` if that fails."""
        names = [path.name for path in self._folder.iterdir() if path.name.startswith((OPEN, CLOSED))]
        for name in names:
            if name not in self._flushed:
                flush(self._folder / name)
        flush(self._folder)
        self._flushed = frozenset(name for name in names if name.startswith(CLOSED))
