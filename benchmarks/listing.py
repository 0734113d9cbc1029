"""Listing a folder of many files, by this version and by an earlier one, alternately.

    python benchmarks/listing.py --before COMMIT --files 100000

The files are empty, in a hundred folders; one in twenty is not a photo, and some are hidden or in system folders. The
earlier version comes from the repository of this script, and each run is a separate process. CPU time is compared,
since the machine may be shared. The target is 1.2 times the time of the earlier version.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from options import show

ROOT = Path(__file__).resolve().parents[1]
MOST = 1.2  # times the time of the earlier version
FOLDERS = 100
LIST = """
import sys, time
from retrieval.listing import list_photos
start = time.process_time()
count = sum(1 for _ in list_photos(sys.argv[1], on_skipped=lambda failure: None))
print(time.process_time() - start, count)
"""


def main() -> None:
    """Measure, print, and exit with 1 if this version takes longer than the target."""
    options = _arguments()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        library, before = Path(folder, "library"), Path(folder, "before")
        _fill(library, options.files)
        archive = subprocess.run(["git", "archive", options.before], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(before, filter="data")
        runs = [(_seconds(before, library), _seconds(ROOT, library)) for _ in range(options.runs)]
    (earlier, listed_before), (now, listed) = ([*zip(*of, strict=True)] for of in zip(*runs, strict=True))
    ratio = statistics.median(b / a for a, b in zip(earlier, now, strict=True))
    result = {
        "files": options.files,
        "photos_before": listed_before[0],
        "photos": listed[0],
        "seconds_before": round(statistics.median(earlier), 3),
        "seconds": round(statistics.median(now), 3),
        "ratio": round(ratio, 3),
        "held": ratio <= MOST,
    }
    show(result, options.json)
    sys.exit(0 if result["held"] else 1)


def _fill(library: Path, count: int) -> None:
    for number in range(count):
        folder = library / f"label {number % FOLDERS:03}" / ("@eaDir" if number % 50 == 7 else "")
        if number < 2 * FOLDERS * 50:
            folder.mkdir(parents=True, exist_ok=True)
        hidden, suffix = "." if number % 100 == 3 else "", "mov" if number % 20 == 9 else "jpg"
        (folder / f"{hidden}IMG_{number:06}.{suffix}").touch()


def _seconds(code: Path, library: Path) -> tuple[float, int]:
    """The CPU seconds of one listing by the code in a folder, and the number of photos."""
    command = [sys.executable, "-c", LIST, str(library)]
    environment = os.environ | {"PYTHONPATH": str(code)}
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=True)
    seconds, count = done.stdout.split()
    return float(seconds), int(count)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="the commit or tag of the earlier version")
    parser.add_argument("--files", type=int, default=100_000, help="number of files")
    parser.add_argument("--runs", type=int, default=5, help="how often each version lists them")
    parser.add_argument("--folder", type=Path, help="a folder for the files; the system's temporary one by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
