"""Growth of a worker's memory with the number of photos, which should be zero.

Many small, different photos are indexed batch by batch with the object that a Celery worker keeps between tasks
(`indexer.executor.LocalExecutor`). The index discards points, because workers write to a server. Resident memory is
measured after each tenth of the photos.

    python benchmarks/worker_memory.py --bundle BUNDLE [--photos 100000]
"""

import argparse
import gc
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image
from qdrant_client import QdrantClient

from indexer.batch import BATCH, now
from indexer.batches import batches
from indexer.executor import LocalExecutor
from retrieval.bundle import load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import Point
from retrieval.index.qdrant_server import ServerIndex, ServerStore
from retrieval.photo_ref import PhotoRef, uri_of
from retrieval.settings import Settings

MOST_GROWTH_MB = 20
FILES = 512


class Forgetting(ServerIndex):
    """Stands for an index on another machine: discards points."""

    def upsert(self, points: Sequence[Point]) -> None:
        assert all(point.vector.shape == (self.dimension,) for point in points)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=100_000)
    options = parser.parse_args()
    result = measure(options.bundle, options.photos)
    print(json.dumps(result, indent=2))
    return int(result["growth_mb"] > MOST_GROWTH_MB)


def measure(folder: Path, photos: int) -> dict[str, Any]:
    """Resident megabytes after each tenth of the photos, and the growth after the first."""
    bundle = load_bundle(folder)
    client = QdrantClient(":memory:")
    index = Forgetting(ServerStore(Settings(), lambda _: client), client, bundle.model_id, bundle.dimension)
    process = psutil.Process()
    start = time.perf_counter()
    resident: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        refs = references(make_photos(Path(temporary)), photos)
        with LocalExecutor(Embedder(bundle, threads=1), index, PhotoDecoder(), threads=1) as engine:
            for number, batch in enumerate(batches(refs, BATCH), start=1):
                outcome = engine.index_batch(batch, now(), float("inf"))
                assert outcome.indexed == len(batch), outcome.failures
                if number % max(1, photos // BATCH // 10) == 0:
                    gc.collect()
                    resident.append(round(process.memory_info().rss / 1e6, 1))
    return {
        "photos": photos,
        "seconds": round(time.perf_counter() - start, 1),
        "resident_mb": resident,
        "growth_mb": round(resident[-1] - resident[0], 1),
    }


def make_photos(folder: Path) -> list[Path]:
    """Small noise images of different shapes."""
    paths = []
    for number in range(FILES):
        content = io.BytesIO()
        size = (40 + number % 90, 40 + number % 70)
        Image.effect_noise(size, 60).convert("RGB").save(content, ("JPEG", "PNG", "WEBP")[number % 3])
        paths.append(folder / f"{number}.jpg")
        paths[-1].write_bytes(content.getvalue())
    return paths


def references(paths: Sequence[Path], photos: int) -> Iterator[PhotoRef]:
    uris = [uri_of(path) for path in paths]
    return (PhotoRef(uris[number % len(uris)], f"label {number % 7}") for number in range(photos))


if __name__ == "__main__":
    sys.exit(main())
