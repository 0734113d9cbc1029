"""What a test flushes to the disk with `os.fsync`, which is called all the same."""

import os
from pathlib import Path

import pytest


class Flushes:
    """The paths that were flushed, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths: list[Path] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._record)

    def _record(self, descriptor: int) -> None:
        self.paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        self._fsync(descriptor)
