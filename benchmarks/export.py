"""The time and memory of `lookalike export` for many photos.

    python benchmarks/export.py --bundle BUNDLE --photos 100000

The index is filled with random vectors and payloads like those of a shop. The target is 10 seconds for 100,000 photos
to Parquet, with memory that does not grow with their number: it is compared with the export of a tenth of the photos.
`peak_mb` is the largest memory that the command allocated (RssAnon). `mapped_mb` are the pages of files, mostly of the
index, that Qdrant Edge maps into memory: they grow with the index, and Linux frees them if other processes need memory.
On a machine that is shared, compare the CPU time of the whole command (`cpu_seconds`).
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from options import show

from retrieval.bundle import Bundle, install_bundle, load_bundle
from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.index import Payload, Point, open_store
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

SCHEMA = ColumnSchema(kinds={"price": "number", "sku": "text", "new": "flag", "added": "date"})
MOST_SECONDS = 10  # for 100,000 photos
MOST_GROWTH = 1.2  # of the peak memory, compared with a tenth of the photos
WRITTEN_AT_ONCE = 1000
POLL_SECONDS = 0.05


def main() -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    options = _arguments()
    bundle = load_bundle(options.bundle)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        few, many = (_measure(Path(folder, str(count)), bundle, count, options.to) for count in _counts(options.photos))
    result = {**many, "growth_of_memory": round(many["peak_mb"] / few["peak_mb"], 3)}
    limit = MOST_SECONDS * options.photos / 100_000
    result["held"] = result["seconds"] <= limit and result["growth_of_memory"] <= MOST_GROWTH
    show(result, options.json)
    sys.exit(0 if result["held"] else 1)


def _counts(photos: int) -> tuple[int, int]:
    return photos // 10, photos


def _measure(home: Path, bundle: Bundle, count: int, suffix: str) -> dict[str, float]:
    settings = Settings(home=home)
    install_bundle(bundle, settings.models_folder)
    with open_store(settings) as store:
        with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
            for start in range(0, count, WRITTEN_AT_ONCE):
                index.upsert(_points(bundle.dimension, start, min(WRITTEN_AT_ONCE, count - start)))
            save_schema(index, SCHEMA)
        store.activate(bundle.model_id)
    file = home / f"all.{suffix}"
    words = [sys.executable, "-m", "lookalike", "export", "--to", str(file), "--json"]
    before = os.times().children_user
    with subprocess.Popen(words, env=os.environ | {"LOOKALIKE_HOME": str(home)}, stdout=subprocess.PIPE) as process:
        allocated, mapped = _peaks(process)
        exported = json.loads(process.stdout.read()) if process.stdout else {}
    cpu_seconds = round(os.times().children_user - before, 2)
    times = {"seconds": exported["seconds"], "cpu_seconds": cpu_seconds}
    return {
        "photos": count,
        **times,
        "peak_mb": allocated,
        "mapped_mb": mapped,
        "file_mb": round(file.stat().st_size / 1e6),
    }


def _peaks(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The largest memory that a process allocates, and that it maps from files, in MB, until it ends."""
    status, peaks = Path(f"/proc/{process.pid}/status"), {"RssAnon": 0, "RssFile": 0}
    while process.poll() is None:
        for name, kilobytes in re.findall(r"(RssAnon|RssFile):\s+(\d+)", status.read_text()):
            peaks[name] = max(peaks[name], int(kilobytes))
        time.sleep(POLL_SECONDS)
    return round(peaks["RssAnon"] * 1024 / 1e6), round(peaks["RssFile"] * 1024 / 1e6)


def _points(dimension: int, start: int, count: int) -> list[Point]:
    random = np.random.default_rng(start)
    vectors = random.normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [_point(start + at, vector) for at, vector in enumerate(vectors)]


def _point(at: int, vector: np.ndarray) -> Point:
    uri = f"file:///photos/category-{at % 50}/product-{at // 4}/{at:08}.jpg"
    extra = {"price": at % 1000 + 0.99, "sku": f"{at // 4:08}", "new": at % 7 == 0, "added": "2026-01-02"}
    times = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    payload = Payload(uri, f"category {at % 50}", f"{at:064x}", 1024, 768, 200_000 + at, *times, None, extra)
    return Point(photo_id(uri), vector, SCHEMA.applied(payload))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle, for the size of its embeddings")
    parser.add_argument("--photos", type=int, default=100_000, help="number of photos")
    parser.add_argument("--to", choices=("parquet", "jsonl", "csv", "npy"), default="parquet")
    parser.add_argument("--folder", type=Path, help="where the indexes are made; default: /tmp")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
