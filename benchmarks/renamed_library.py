"""The time to index a renamed library, compared with that of an unchanged one.

    python benchmarks/renamed_library.py [--photos 100000] [--bundle BUNDLE]

Small JPEGs of different contents are indexed, indexed again, renamed, and indexed once more with `--sync`. The script
fails if a photo is embedded again, if ids or labels change, or if that takes more than three times as long as the
unchanged run. Without a bundle, a network of a few ONNX nodes is used.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from retrieval.bundle import load_bundle
from retrieval.index.embedded import EmbeddedStore

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import make

FOLDERS = 100
MAX_RATIO = 3.0


def main() -> None:
    """Measure, print the result as JSON, and exit with 1 if it misses the target."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--bundle", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.photos, arguments.bundle)
    print(json.dumps(result, indent=2))
    if not result["kept"] or result["embedded"] or result["ratio"] > MAX_RATIO:
        sys.exit(1)


def measure(folder: Path, photos: int, bundle: Path | None) -> dict[str, Any]:
    """Index, rename and index again; return counts and seconds."""
    bundle = bundle or make.bundle(folder / "bundle").folder
    library = _library(folder / "photos", photos)
    _index(folder, library, bundle)
    unchanged, unchanged_seconds = _index(folder, library, bundle)
    before = _points(folder, bundle)
    renamed = library.rename(folder / "pictures")
    moved, seconds = _index(folder, renamed, bundle)
    return {
        "photos": photos,
        "unchanged": unchanged["unchanged"],
        "unchanged_seconds": unchanged_seconds,
        "moved": moved["moved"],
        "embedded": moved["indexed"],
        "seconds": seconds,
        "ratio": round(seconds / unchanged_seconds, 2),
        "kept": _points(folder, bundle) == before,
    }


def _library(folder: Path, photos: int) -> Path:
    content = make.encoded(make.photo())
    for number in range(photos):
        path = folder / f"label-{number % FOLDERS}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content + b"%d" % number)
    return folder


def _index(folder: Path, library: Path, bundle: Path) -> tuple[dict[str, Any], float]:
    command = [sys.executable, "-m", "lookalike", "index", str(library), "--bundle", str(bundle), "--sync", "--json"]
    start = time.monotonic()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env=os.environ | {"LOOKALIKE_HOME": str(folder / "home")}
    )
    return json.loads(done.stdout), round(time.monotonic() - start, 1)


def _points(folder: Path, bundle: Path) -> dict[str, tuple[str, str | None]]:
    """The id and label of each photo, by its content."""
    loaded = load_bundle(bundle)
    with EmbeddedStore(folder / "home" / "index").open(loaded.model_id, loaded.dimension, loaded.look) as index:
        return {payload.sha256: (str(photo), payload.label) for photo, payload in index.scroll_payloads()}


if __name__ == "__main__":
    main()
