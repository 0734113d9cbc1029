"""Throughput of `lookalike index`, compared with tf.data, Keras and scikit-learn with the same weights.

    python benchmarks/indexing_speed.py --bundle FLOAT32 [--int8 BUNDLE] --photos FOLDER [--megapixels 12] [--runs 3]

The baseline (`original.py`): tf.data reads, decodes and resizes, Keras predicts in batches of 32, scikit-learn fits;
one batch of warm-up. `lookalike index` reads, hashes, decodes, embeds and writes durably. They
alternate, so that other load on the machine affects both. Ratios are those of the median photos per second with models
loaded; `process_ratio` is that of the seconds from process start to end, including the cross-check.

With `--megapixels` a few dozen photos are first enlarged to that size, as JPEGs of quality 90, and each is used under
several names, so that start-up does not dominate.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from keras_model import quiet_environment, write_keras_model
from options import bundle_and_photos, show
from PIL import Image
from timing import spread

from retrieval.cores import usable_cores
from retrieval.listing import list_photos

ENLARGED, NAMES = 48, 4
INDEX = """
import sys, lookalike
try:
    lookalike.main()
finally:
    assert not {"tensorflow", "keras"} & sys.modules.keys(), "the indexing process imported TensorFlow"
"""


def main() -> None:
    options = _arguments()
    bundles = {"float32": options.bundle} | ({"int8": options.int8} if options.int8 else {})
    with _enlarged(options.photos, options.megapixels) as photos:
        show(measure(photos, bundles, options.runs), options.json)


def measure(photos: Path, bundles: dict[str, Path], runs: int) -> dict[str, Any]:
    """Photos per second (models loaded) and seconds of the whole process of each, and the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        cosine = write_keras_model(Path(folder), photos, bundles.values())
        ways = {name: partial(index_with_lookalike, photos, bundle) for name, bundle in bundles.items()}
        ways["original"] = partial(index_as_original, photos, Path(folder))
        turns = [{name: way() for name, way in ways.items()} for _ in range(runs)]
    count = turns[0]["original"]["photos"]
    assert all(run["photos"] == count for turn in turns for run in turn.values())
    result: dict[str, Any] = {"photos": count, "cores": usable_cores(), "cosine_with_keras": cosine}
    for name in ways:
        result[name] = {
            figure: spread(turn[name][figure] for turn in turns) for figure in ("images_per_second", "process_seconds")
        }
    theirs = result["original"]
    for ours in (result[name] for name in bundles):
        ours["ratio"] = _ratio(ours, theirs, "images_per_second")
        ours["process_ratio"] = _ratio(theirs, ours, "process_seconds")
    return result


def index_with_lookalike(photos: Path, bundle: Path) -> dict[str, Any]:
    """`lookalike index` into an empty home."""
    with tempfile.TemporaryDirectory() as home:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", INDEX, "index", photos, "--bundle", bundle, "--json"],
            env=os.environ | {"LOOKALIKE_HOME": home},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            check=True,
        )
        seconds = time.perf_counter() - start
    job = json.loads(done.stdout)
    return {
        "photos": job["indexed"],
        "images_per_second": job["images_per_second"],
        "process_seconds": seconds,
    }


def index_as_original(photos: Path, folder: Path) -> dict[str, Any]:
    """The baseline, in its own process."""
    start = time.perf_counter()
    command = [sys.executable, Path(__file__).with_name("original.py"), "index", folder, photos]
    done = subprocess.run(command, env=quiet_environment(), stdout=subprocess.PIPE, check=True)
    return {**json.loads(done.stdout), "process_seconds": time.perf_counter() - start}


@contextmanager
def _enlarged(photos: Path, megapixels: float | None) -> Iterator[Path]:
    """The original photos, or some of them enlarged."""
    if megapixels is None:
        yield photos
        return
    with tempfile.TemporaryDirectory() as folder:
        listed = [photo.path for photo in list_photos(photos)]
        for number, path in enumerate(listed[:: max(1, len(listed) // ENLARGED)][:ENLARGED]):
            with Image.open(path) as image:
                scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
                size = (round(image.width * scale), round(image.height * scale))
                large = Path(folder, f"{number}.jpg")
                image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(large, quality=90)
            for name in range(1, NAMES):
                shutil.copyfile(large, Path(folder, f"{number}-{name}.jpg"))
        yield Path(folder)


def _ratio(of: dict[str, Any], to: dict[str, Any], name: str) -> float:
    return round(float(of[name]["median"] / to[name]["median"]), 2)


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--int8", type=Path, help="the same network in int8, to be measured, too")
    parser.add_argument("--megapixels", type=float, help="how large the photos shall be made; as they are unless given")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
