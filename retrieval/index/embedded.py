"""The store of the embedded indexes: a folder for each model, and a file that names the current one."""

import json
import shutil
from pathlib import Path

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from retrieval.errors import IndexUnreadable
from retrieval.files import write_atomically
from retrieval.index.base import IndexStore, VectorIndex
from retrieval.index.folder import COUNT, DESCRIPTION, hold

POINTER = TypeAdapter(dict[str, str | None])


class EmbeddedStore(IndexStore):
    """The indexes in one folder, which is created with the first, with `current.json` naming the current model."""

    allows_many_processes = False

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.location = f"embedded in {folder}"
        self._folder = folder
        self._pointer = folder / "current.json"

    def models(self) -> list[str]:
        return sorted(path.parent.name for path in self._folder.glob(f"*/{DESCRIPTION}"))

    def current(self) -> str | None:
        return self._read_pointer().get("current")

    def previous(self) -> str | None:
        previous = self._read_pointer().get("previous")
        return previous if previous in self.models() else None

    def _open(self, model: str, dimension: int, look: int) -> VectorIndex:
        from retrieval.index.edge import EmbeddedIndex  # noqa: PLC0415 - not before a server forks its workers

        return EmbeddedIndex(self, self._folder / model, model, dimension, look)

    def _replace_current(self, expected: str | None, model: str) -> bool:
        with FileLock(self._pointer.with_suffix(".lock")):
            if self.current() != expected:
                return False
            write_atomically(self._pointer, json.dumps({"current": model, "previous": expected}))
            return True

    def _saved_count(self, model: str) -> int | None:
        try:
            return int((self._folder / model / COUNT).read_bytes())
        except (OSError, ValueError):  # not saved yet, or damaged
            return None

    def _saved_note(self, model: str, name: str) -> str | None:
        try:
            return (self._folder / model / f"{name}.json").read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def _remove(self, model: str) -> None:
        with hold(self._folder / model):
            shutil.rmtree(self._folder / model)

    def _read_pointer(self) -> dict[str, str | None]:
        try:
            return POINTER.validate_json(self._pointer.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise IndexUnreadable(
                f"{self._pointer} is damaged: it does not name the current model.",
                "Delete that file, and name the model with `lookalike models activate MODEL`.",
            ) from None
