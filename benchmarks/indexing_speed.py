"""How fast `lookalike index` is beside TensorFlow's own way with the same network, on the same cores, in one run.

    python benchmarks/indexing_speed.py [--photos FOLDER] [--weights FILE] [--runs 3] [--json]

TensorFlow's own way (`tensorflow_indexing.py`): tf.data reads, decodes and resizes, Keras predicts in batches of 32,
scikit-learn fits; a batch warms it up before the clock starts. `lookalike index` reads, hashes, decodes, embeds and
writes durably. The network is MobileNetV2 with a head of 128 dimensions that is not trained, which takes as long as one
that is. The two take turns, so that whatever else the machine does meets both; the ratio is that of their median photos
a second. Exits with 1 where it is below 2.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
REQUIRED_RATIO = 2.0
INDEX = """
import sys, lookalike
try:
    lookalike.main()
finally:
    assert not {"tensorflow", "keras"} & sys.modules.keys(), "the indexing process imported TensorFlow"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=SHARED / "flowers", help="a folder of JPEGs")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "mobilenet_v2_imagenet_notop.h5")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.photos, options.weights, options.runs)
    if options.json:
        print(json.dumps(result))
    else:
        for name in ("lookalike", "tensorflow"):
            speed = result[name]
            print(f"{name:<12}{speed['images_per_second']:7.1f} photos/s, {speed['process_seconds']:6.1f} s from start")
        print(f"{result['photos']} photos on {result['cores']} cores: {result['ratio']:.2f} times as fast")
    sys.exit(result["ratio"] < REQUIRED_RATIO)


def measure(photos: Path, weights: Path, runs: int) -> dict[str, Any]:
    """Both ways in turn: median photos a second (models loaded), median seconds of the whole process, their ratio."""
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary, "bundle")
        _tensorflow("bundle", bundle, weights)
        turns = [
            (
                index_with_lookalike(photos, bundle, Path(temporary, f"home-{run}")),
                index_with_tensorflow(photos, weights),
            )
            for run in range(runs)
        ]
    lookalike, tensorflow = (_median(list(way)) for way in zip(*turns, strict=True))
    return {
        "photos": int(turns[0][0]["photos"]),
        "cores": len(os.sched_getaffinity(0)),
        "runs": runs,
        "lookalike": lookalike,
        "tensorflow": tensorflow,
        "ratio": round(lookalike["images_per_second"] / tensorflow["images_per_second"], 3),
        "process_ratio": round(tensorflow["process_seconds"] / lookalike["process_seconds"], 3),
    }


def index_with_lookalike(photos: Path, bundle: Path, home: Path) -> dict[str, float]:
    """`lookalike index` into an empty home, cross-check included in the process's seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", INDEX, "index", photos, "--bundle", bundle, "--json"],
        env=os.environ | {"LOOKALIKE_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    job = json.loads(done.stdout)
    return {
        "photos": job["indexed"],
        "images_per_second": job["images_per_second"],
        "process_seconds": time.perf_counter() - start,
    }


def index_with_tensorflow(photos: Path, weights: Path) -> dict[str, float]:
    """The peer, in its own process."""
    start = time.perf_counter()
    result = json.loads(_tensorflow("index", photos, weights))
    return {**result, "process_seconds": time.perf_counter() - start}


def _tensorflow(*words: object) -> str:
    script = Path(__file__).with_name("tensorflow_indexing.py")
    root = {"PYTHONPATH": str(script.parents[1]), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, script, *map(str, words)], env=os.environ | root, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    names = ("images_per_second", "process_seconds")
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in names}


if __name__ == "__main__":
    main()
