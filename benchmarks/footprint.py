"""Cold start of `lookalike search`, and resident memory of the processes.

    python benchmarks/footprint.py --bundle BUNDLE --photos FOLDER [--runs 9] [--json]

Indexes the photos and measures the peak resident memory; runs `lookalike search` several times as a new process and
measures the wall-clock time; starts `lookalike serve`, uploads 50 photos, and measures its resident memory.
"""

import os
import subprocess
import tempfile
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from options import bundle_and_photos, show
from served import LOOKALIKE, serving, upload
from timing import spread, timed

from retrieval.listing import list_photos

UPLOADS = 50


def main() -> None:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LOOKALIKE_HOME": home}
        photos = [photo.path for photo in list_photos(options.photos)]
        result: dict[str, Any] = {
            "photos": len(photos),
            "index_peak_mb": _peak(
                [*LOOKALIKE, "index", str(options.photos), "--bundle", str(options.bundle)], environment
            ),
            "search_seconds": spread(_search(path, environment) for path in photos[: options.runs]),
            "server_mb": _server_memory(photos[:UPLOADS], environment),
        }
    show(result, options.json)


def _peak(command: list[str], environment: dict[str, str]) -> float:
    """The peak resident memory of a process, in megabytes."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss * 1024 / 1e6


def _search(photo: Path, environment: dict[str, str]) -> float:
    command = [*LOOKALIKE, "search", str(photo)]
    return timed(partial(subprocess.run, command, env=environment, stdout=subprocess.DEVNULL, check=True))[0]


def _server_memory(photos: list[Path], environment: dict[str, str]) -> list[float]:
    """The resident memory of each process of the server, in megabytes, after it has answered."""
    with serving(environment) as server:
        for photo in photos:
            search = urllib.request.Request(f"http://{server.address}/api/v1/search", *upload(photo.read_bytes()))
            with urllib.request.urlopen(search) as answer:
                answer.read()
        return [round(mb, 1) for mb in server.memory_mb_of_each()]


if __name__ == "__main__":
    main()
