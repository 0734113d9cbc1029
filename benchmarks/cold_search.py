"""Duration of a search from a cold start, compared with TensorFlow, Keras and scikit-learn.

    python benchmarks/cold_search.py --bundle FLOAT32 --photos FOLDER [--runs 5]

Starts `lookalike search` as a new process. The baseline imports TensorFlow, loads the Keras model, predicts one photo
and searches with scikit-learn. Both use the same photos and weights, and must return the query photo first. They
alternate; files are in the page cache for both.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from keras_model import quiet_environment, write_keras_model
from options import bundle_and_photos, show
from served import LOOKALIKE
from timing import spread, timed

from retrieval.listing import list_photos

ORIGINAL = [sys.executable, str(Path(__file__).with_name("original.py"))]


def main() -> None:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show(measure(options.bundle, options.photos, Path(folder), options.runs), options.json)


def measure(bundle: Path, photos: Path, folder: Path, runs: int) -> dict[str, Any]:
    """Seconds of both, and the speed-up."""
    environment = os.environ | {"LOOKALIKE_HOME": str(folder / "home")}
    cosine = write_keras_model(folder, photos, [bundle])
    _output([*LOOKALIKE, "index", str(photos), "--bundle", str(bundle), "--json"], environment)
    _output([*ORIGINAL, "index", str(folder), str(photos)], quiet_environment())
    paths = [photo.path for photo in list_photos(photos)]
    ours, theirs = [], []
    for path in paths[:: max(1, len(paths) // (runs + 1))][: runs + 1]:
        seconds, found = timed(partial(_output, [*LOOKALIKE, "search", str(path), "--json"], environment))
        assert found["results"][0]["uri"].endswith(path.name), found["results"][0]
        ours.append(seconds)
        seconds, found = timed(partial(_output, [*ORIGINAL, "search", str(folder), str(path)], quiet_environment()))
        assert found["results"][0] == str(path), found["results"][0]
        theirs.append(seconds)
    result: dict[str, Any] = {
        "photos": len(paths),
        "cosine_with_keras": cosine,
        "lookalike_seconds": spread(ours[1:]),  # the first run fills the page cache
        "original_seconds": spread(theirs[1:]),
    }
    ratio = result["original_seconds"]["median"] / result["lookalike_seconds"]["median"]
    return result | {"times_faster": round(ratio, 2)}


def _output(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
