"""Duplicates that persons decided to keep: a file in the home that only grows."""

import json
import uuid
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from retrieval.errors import LookalikeError, os_errors_as
from retrieval.files import append_lines, make_folder
from retrieval.settings import Settings


def keep_duplicate(settings: Settings, photo: uuid.UUID, key: str | None, *, kept: bool = True) -> None:
    """Record that a photo is to be kept although it is a duplicate; False undoes that.

    Args:
        settings: name the home.
        photo: the id of the photo.
        key: the name of the API key of the person.
        kept: whether it is to be kept.

    Raises:
        LookalikeError: the file can't be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"time": now, "key": key, "photo": str(photo), "kept": kept}, ensure_ascii=False)
    path = _file(settings)
    with _writing(path):
        make_folder(path.parent)
        with FileLock(path.with_suffix(".lock")):
            append_lines(path, f"{line}\n".encode())


def kept_duplicates(settings: Settings) -> frozenset[uuid.UUID]:
    """Return the ids of the duplicates that are to be kept.

    Damaged lines are ignored: a power failure may leave one.
    """
    kept: dict[uuid.UUID, bool] = {}
    with suppress(FileNotFoundError), _file(settings).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                said: dict[str, Any] = json.loads(line)
                kept[uuid.UUID(said["photo"])] = bool(said["kept"])
    return frozenset(photo for photo, is_kept in kept.items() if is_kept)


def _file(settings: Settings) -> Path:
    return settings.home / "review" / "kept.jsonl"


def _writing(path: Path) -> AbstractContextManager[None]:
    return os_errors_as(LookalikeError, f"{path} can't be written", "Correct its permissions, or free disk space.")
