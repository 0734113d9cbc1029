"""Two workers compared with one: photos per second of a distributed job, one thread per worker.

A Redis server, an index server and the workers run on this machine, so two workers need two idle cores. The index
server is the one at LOOKALIKE_TEST_QDRANT_URL, or the one of the tests.

    python benchmarks/workers.py --bundle BUNDLE --photos FOLDER [--runs 3]
"""

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from machines import Machines
from options import bundle_and_photos, show
from timing import spread

from retrieval.bundle import Bundle, load_bundle
from retrieval.listing import list_photos

REQUIRED_RATIO = 1.8


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    turns = [[photos_a_second(bundle, options.photos, workers) for workers in (1, 2)] for _ in range(options.runs)]
    one, two = map(spread, zip(*turns, strict=True))
    ratio = round(two["median"] / one["median"], 2)
    show({"one_worker": one, "two_workers": two, "ratio": ratio}, options.json)
    return int(ratio < REQUIRED_RATIO)


def photos_a_second(bundle: Bundle, photos: Path, workers: int) -> float:
    """The rate of a job with warm workers, which just indexed the same photos under other names."""
    with tempfile.TemporaryDirectory() as temporary:
        warm = Path(temporary, "warm")
        warm.mkdir()
        for number, photo in enumerate(list_photos(photos)):
            (warm / f"{number}{photo.path.suffix}").symlink_to(photo.path.resolve())
        machines = Machines(Path(temporary), bundle, workers, durable=False)
        try:
            finish(machines.start_index(warm))
            done = finish(machines.start_index(photos))
            assert done["indexed"] == done["seen"]
            return float(done["images_per_second"])
        finally:
            machines.close()


def copies(photos: Path, count: int, folder: Path) -> Path:
    """Make a folder of so many photos, repeated under other names and with other contents if there are fewer."""
    folder.mkdir()
    contents = itertools.cycle([photo.path for photo in list_photos(photos)])
    for number, photo in enumerate(itertools.islice(contents, count)):
        (folder / f"{number}{photo.suffix}").write_bytes(photo.read_bytes() + b"%d" % number)
    return folder


def finish(job: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the result of a job when it has ended."""
    out, err = job.communicate(timeout=7200)
    assert job.returncode == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


if __name__ == "__main__":
    sys.exit(main())
