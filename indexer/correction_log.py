"""The log of corrections: what persons said about photos, by content, in a file of the home that only grows.

The index has the corrected labels, too; the log is what survives a new index, a new model and another name of a folder.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import MAXYEAR, UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ConfigDict, TypeAdapter, ValidationError

from retrieval.errors import LookalikeError, os_errors_as
from retrieval.files import append_lines, make_folder
from retrieval.labels import normalized
from retrieval.photo_ref import Value

FILE = "corrections.jsonl"


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said about the photos of a content, as a whole: it replaces earlier corrections."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    time: str  # ISO 8601 in UTC, in microseconds
    key: str | None  # the name of the API key of the person; None if it is unknown
    sha256: str  # of the file
    old: str | None  # the label before
    new: str | None  # the label
    original: str | None  # the label before the first correction, from the source
    columns: dict[str, Value | None] = field(default_factory=dict)  # all that were changed; None: removed
    confirmed: bool = False  # whether the person confirmed the label

    @property
    def sets_label(self) -> bool:
        """Whether it determines the label; otherwise the sources do, as if it had never been corrected."""
        return self.confirmed or self.new != self.original


CORRECTION = TypeAdapter(Correction)


@dataclass(frozen=True, slots=True)
class DamagedLine:
    """A line of a file that is not a correction."""

    line: int  # from 1
    reason: str


class CorrectionLog:
    """The corrections of a home, shared by its processes; what other processes append is seen at the next reading.

    Every method raises `LookalikeError` if the file can't be read or written.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._latest: dict[str, Correction] = {}
        self._read = 0  # bytes
        self._file = 0  # its inode
        self._reading = threading.Lock()

    def of(self, sha256: str) -> Correction | None:
        """Return the current correction of a content: the one with the latest time; None if there is none."""
        return self.latest().get(sha256)

    def latest(self) -> Mapping[str, Correction]:
        """Return the current corrections by content."""
        with self._reading, _failing(self.path):
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._latest, self._read = {}, 0
                return self._latest
            if status.st_ino != self._file or status.st_size < self._read:
                self._latest, self._read, self._file = {}, 0, status.st_ino
            if status.st_size > self._read:
                self._read_further()
            return self._latest

    def lines(self) -> list["Correction | DamagedLine"]:
        """Return all lines, in their order."""
        return list(read_corrections(self.path)) if self.path.exists() else []

    def append(self, corrections: Sequence[Correction]) -> None:
        """Add corrections; when it returns, they survive a power failure. Call it within `locked`."""
        if not corrections:
            return
        lines = "".join(f"{line_of(one)}\n" for one in corrections).encode()
        with _failing(self.path):
            append_lines(self.path, lines)

    def locked(self) -> AbstractContextManager[object]:
        """Return a context in which no other thread or process corrects photos."""
        with _failing(self.path):
            make_folder(self.path.parent)
        return FileLock(self.path.with_suffix(".lock"), poll_interval=0.01)

    def next_time(self, sha256: str) -> str:
        """Return the time of a new correction: now, but later than the last one of the content, if clocks differ."""
        now = datetime.now(UTC)
        if (before := self.of(sha256)) is not None:
            now = max(now, datetime.fromisoformat(before.time) + timedelta(microseconds=1))
        return now.isoformat(timespec="microseconds")

    def _read_further(self) -> None:
        """Read the complete lines that were appended since the last reading."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        end = data.rfind(b"\n") + 1
        latest = dict(self._latest)
        for found in parsed(data[:end].splitlines()):
            if isinstance(found, Correction) and is_later(found, latest.get(found.sha256)):
                latest[found.sha256] = found
        self._latest, self._read = latest, self._read + end


def read_corrections(path: Path) -> Iterator[Correction | DamagedLine]:
    """Yield the lines of a file of corrections; raises `LookalikeError` if it can't be read."""
    with _failing(path), path.open("rb") as file:
        yield from parsed(file)


def parsed(lines: Iterator[bytes] | Sequence[bytes]) -> Iterator[Correction | DamagedLine]:
    """Yield the corrections in lines, or what is wrong with a line; empty lines are skipped."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _checked(CORRECTION.validate_json(line))
        except ValidationError as error:
            (first, *_) = error.errors()
            place = ".".join(map(str, first["loc"]))
            yield DamagedLine(number, f"{place}: {first['msg']}" if place else first["msg"])
        except ValueError as error:
            yield DamagedLine(number, str(error))


def line_of(correction: Correction) -> str:
    """Return a correction as a line of JSON."""
    return json.dumps(asdict(correction), ensure_ascii=False)


def is_later(correction: Correction, other: Correction | None) -> bool:
    """Return whether a correction replaces another one: the later one, or that with the greater line at equal times.

    The order of reading does not matter, so homes with the same corrections have the same current ones.
    """
    return other is None or _order(correction) >= _order(other)


def _order(correction: Correction) -> tuple[Any, ...]:
    return datetime.fromisoformat(correction.time), line_of(correction)


def _checked(correction: Correction) -> Correction:
    """Return a correction with its time in UTC; raises `ValueError` if a value is not what it should be."""
    if len(correction.sha256) != 64 or not set(correction.sha256) <= set("0123456789abcdef"):
        raise ValueError("sha256: it is no SHA-256 in hexadecimal")
    time = datetime.fromisoformat(correction.time)
    if time.tzinfo is None:
        raise ValueError("time: it has no time zone")
    if time.year == MAXYEAR:
        raise ValueError("time: nothing can be later")
    if correction.new not in (normalized(correction.new), correction.old, correction.original):
        raise ValueError("new: a label is one printable line without blanks around it")
    values = (one for value in correction.columns.values() for one in (value if isinstance(value, list) else [value]))
    if any(isinstance(one, float) and not isfinite(one) for one in values):
        raise ValueError("columns: a number is infinite")
    return correction


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    with os_errors_as(LookalikeError, f"The corrections {path} can't be used", "Check its permissions and free space."):
        yield
