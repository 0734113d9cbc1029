"""The folder of an embedded index: which process holds it, and whether its disk has space."""

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from retrieval.errors import IndexBusy, IndexUnreadable, IndexWriteFailed
from retrieval.files import make_folder

DESCRIPTION = "index.json"
HOLDER = "holder.json"
COUNT = "count.json"  # the number of points when a job ended or the index was closed

# Edge maps its files into memory, so that writing to a full disk would kill the process. One batch of points with its
# log segment and payload takes a small part of this space; opening an index writes a few kilobytes.
SPARE_BYTES = 96 * 1024 * 1024
OPENING_BYTES = 8 * 1024 * 1024


def require_space(folder: Path, needed: int = SPARE_BYTES) -> None:
    """Create the folder if it does not exist; raises `IndexWriteFailed` if its disk has fewer bytes left."""
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise IndexWriteFailed(
            f"The disk that holds {folder} is full: {free // 1_000_000} MB are left, and using the index safely takes "
            f"{needed // 1_000_000} MB.",
            "Indexed photos are kept. Free disk space, then run the same command again.",
        )


def hold(folder: Path, address: str | None = None) -> FileLock:
    """Lock the folder of an index by the file that names its holder.

    Args:
        address: the URL of the server in this process, for other processes; None if it is no server.

    Raises:
        IndexBusy: another process holds the folder.
        IndexUnreadable: the clock shows a time before 1970, which Edge does not support.
    """
    if (now := time.time()) < 0:
        raise IndexUnreadable(f"The clock of this machine shows {datetime.fromtimestamp(now):%Y-%m-%d}.", "Set it.")
    path = folder / HOLDER
    lock = FileLock(path, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise _busy(folder) from None
    path.write_text(json.dumps({"pid": os.getpid(), "command": " ".join(["lookalike", *sys.argv[1:]]), "url": address}))
    return lock


def release(lock: FileLock) -> None:
    """Unlock the folder of an index, and clear the name of its holder."""
    Path(lock.lock_file).write_text("")
    lock.release()


def _busy(folder: Path) -> IndexBusy:
    holder = _read_holder(folder / HOLDER)
    name = f": `{holder['command']}`, process {holder['pid']}" if holder else ""
    error = IndexBusy(
        f"The index {folder} is held by another process{name}.",
        "Stop that process, or use it: while `lookalike serve` runs, search on its page or with its API.",
    )
    error.address = holder.get("url")
    return error


def _read_holder(path: Path) -> dict[str, Any]:
    """Return what the holder of an index wrote about itself; empty if it has not written it yet."""
    for _ in range(20):
        with suppress(ValueError):
            holder: dict[str, Any] = json.loads(path.read_text())
            return holder
        time.sleep(0.01)  # it has locked the file and not written its name yet
    return {}
