"""What indexing costs beside the slower of its two steps: decoding alone and embedding alone, on the same cores.

    python benchmarks/pipeline.py --bundle BUNDLE --photos FOLDER [--runs 3]

Each of the three works on groups of four photos, a thread to a core: decoding reads and resizes them, embedding takes
pixels from memory, indexing does all of it and hashes, looks up and writes durably. They take turns, so that whatever
else the machine does meets all. Decoding and embedding share the cores, so that indexing can only be as fast as
`bound`: a photo takes the time of both. Exits with 1 where indexing is slower than 0.85 of the slower step.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from options import bundle_and_photos

from indexer.batch import GROUP, BatchIndexer, batches
from retrieval.bundle import load_bundle
from retrieval.embedder import Embedder
from retrieval.images import read_pixels
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photos import PhotoRef, file_content
from retrieval.settings import usable_cores

REQUIRED_RATIO = 0.85


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    embedder = Embedder(load_bundle(options.bundle), threads=1)
    photos = list(list_photos(options.photos))
    turns = [rates(embedder, photos) for _ in range(options.runs)]
    decoding, embedding, indexing = (statistics.median(turn) for turn in zip(*turns, strict=True))
    bound = 1 / (1 / decoding + 1 / embedding)
    slower = min(decoding, embedding)
    result = {
        "decoding": round(decoding, 1),
        "embedding": round(embedding, 1),
        "indexing": round(indexing, 1),
        "ratio": round(indexing / slower, 3),
        "bound": round(bound / slower, 3),
        "ratio_to_bound": round(indexing / bound, 3),
    }
    print(json.dumps(result, indent=2))
    return int(result["ratio"] < REQUIRED_RATIO)


def rates(embedder: Embedder, photos: list[PhotoRef]) -> tuple[float, float, float]:
    """Photos a second of decoding alone, of embedding alone and of indexing."""

    def decode(group: list[PhotoRef]) -> npt.NDArray[np.uint8]:
        return np.stack([read_pixels(file_content(photo), embedder.bundle.resize).pixels for photo in group])

    decoding, pixels = timed(decode, list(batches(photos, GROUP)))
    embedding, _ = timed(embedder.embed, pixels)
    bundle = embedder.bundle
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStore(Path(folder)).open(bundle.model_id, bundle.dimension) as index,
        BatchIndexer(embedder, index, threads=usable_cores()) as indexer,
    ):
        start = time.perf_counter()
        indexed = sum(outcome.indexed for outcome in indexer.run(photos))
        indexing = time.perf_counter() - start
    assert indexed == len(photos)
    return len(photos) / decoding, len(photos) / embedding, len(photos) / indexing


def timed(work: Callable[[Any], Any], groups: list[Any]) -> tuple[float, list[Any]]:
    """How long a piece of work takes for all groups, a thread to a core, and what it gives."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        start = time.perf_counter()
        results = list(threads.map(work, groups))
        return time.perf_counter() - start, results


if __name__ == "__main__":
    sys.exit(main())
