"""Indexing libraries of different sizes: photos per second, memory and disk space.

    python benchmarks/growth.py --bundle BUNDLE --photos FOLDER [--sizes 1000 10000 100000]

A library consists of the given photos, reduced to 320 pixels and repeated with a number appended to the file, so all
files differ. `lookalike index` indexes each library in a new process; memory is its peak resident memory.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from options import bundle_and_photos, show
from PIL import Image
from served import LOOKALIKE

from retrieval.listing import list_photos

SHORTER_SIDE = 320
FOLDER = 1000
MOST_DIFFERENT = 500


def main() -> None:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="photos of each library")
    options = parser.parse_args()
    contents = [_smaller(photo.path) for photo in islice(list_photos(options.photos), MOST_DIFFERENT)]
    show({f"{size}_photos": measure(options.bundle, contents, size) for size in options.sizes}, options.json)


def measure(bundle: Path, contents: list[bytes], size: int) -> dict[str, Any]:
    """Index a library of that size."""
    with tempfile.TemporaryDirectory() as temporary:
        library, home = Path(temporary, "photos"), Path(temporary, "home")
        for number in range(size):
            path = library / f"{number // FOLDER:05}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[number % len(contents)] + b"%d" % number)
        job, peak_mb = _index(library, bundle, home)
        on_disk = sum(file.stat().st_blocks * 512 for file in (home / "index").rglob("*") if file.is_file())
    assert job["indexed"] == size
    return {
        "photos": size,
        "seconds": job["seconds"],
        "images_per_second": job["images_per_second"],
        "peak_mb": round(peak_mb),
        "index_on_disk_mb": round(on_disk / 1e6, 1),
    }


def _index(library: Path, bundle: Path, home: Path) -> tuple[dict[str, Any], float]:
    """The job's result, and the peak resident memory of its process in megabytes."""
    command = [*LOOKALIKE, "index", str(library), "--bundle", str(bundle), "--json"]
    environment = os.environ | {"LOOKALIKE_HOME": str(home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return json.loads(output), usage.ru_maxrss * 1024 / 1e6


def _smaller(path: Path) -> bytes:
    file = io.BytesIO()
    with Image.open(path) as image:
        scale = SHORTER_SIDE / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image.convert("RGB").resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
