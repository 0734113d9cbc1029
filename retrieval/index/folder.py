"""The folder of an embedded index: which process holds it, and whether its disk has space."""

import fcntl
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from retrieval.errors import IndexBusy, IndexWriteFailed

DESCRIPTION = "index.json"

# Edge maps its files into memory, so that writing to a full disk would kill the process. One batch of points with its
# log segment and payload takes a small part of this space; opening an index writes a few kilobytes.
SPARE_BYTES = 96 * 1024 * 1024
OPENING_BYTES = 8 * 1024 * 1024


def require_space(folder: Path, needed: int = SPARE_BYTES) -> None:
    """Create the folder if it does not exist; raises `IndexWriteFailed` if its disk has fewer bytes left."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise IndexWriteFailed(
            f"The disk that holds {folder} is full: {free // 1_000_000} MB are left, and using the index safely takes "
            f"{needed // 1_000_000} MB.",
            "What is indexed is kept. Free disk space, then run the same command again.",
        )


def hold(folder: Path) -> TextIO:
    """Lock the folder of an index by the file that names its holder; closing the file unlocks it.

    Raises:
        IndexBusy: another process holds it, or has just removed it.
    """
    file = (folder / "holder.json").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            raise IndexBusy(
                f"The index {folder} is held by another process{_name_holder(file)}.",
                "Stop that process, or use it: while `lookalike serve` runs, search on its page or with its API.",
            ) from None
    if os.fstat(file.fileno()).st_nlink == 0:
        file.close()
        raise IndexBusy(f"The index {folder} was removed at this moment.", "Run the same command again.")
    file.truncate(0)
    json.dump({"pid": os.getpid(), "command": " ".join(["lookalike", *sys.argv[1:]])}, file)
    file.flush()
    return file


def _name_holder(file: TextIO) -> str:
    for _ in range(20):
        file.seek(0)
        with suppress(ValueError):
            holder = json.load(file)
            return f": `{holder['command']}`, process {holder['pid']}"
        time.sleep(0.01)  # it has locked the file and not written its name yet
    return ""
