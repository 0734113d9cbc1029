"""Throughput of indexing, compared with decoding alone and embedding alone on the same cores.

    python benchmarks/pipeline.py --bundle BUNDLE --photos FOLDER [--runs 3]

Each processes groups of four photos with one thread per core: decoding reads and resizes, embedding starts from pixels
in memory, and indexing does both and also hashes, looks up and writes durably. They alternate, so that other load on
the machine affects all. Decoding and embedding share the cores, so indexing can reach at most `bound`, where a photo
takes the time of both. Exits with 1 if indexing is slower than 0.9 of this bound.
"""

import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from options import bundle_and_photos, show
from timing import spread, timed

from indexer.batch import BatchIndexer
from indexer.batches import batches
from retrieval.bundle import load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_photo

REQUIRED_RATIO = 0.9


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    embedder = Embedder(load_bundle(options.bundle), threads=1)
    photos = list(list_photos(options.photos))
    turns = [rates(embedder, photos) for _ in range(options.runs)]
    result: dict[str, Any] = dict(
        zip(("decoding", "embedding", "indexing"), map(spread, zip(*turns, strict=True)), strict=True)
    )
    decoding, embedding, indexing = (of["median"] for of in result.values())
    result["bound"] = round(1 / (1 / decoding + 1 / embedding), 1)
    result["ratio_to_bound"] = round(indexing / result["bound"], 3)
    result["ratio_to_slower_step"] = round(indexing / min(decoding, embedding), 3)
    show(result, options.json)
    return int(result["ratio_to_bound"] < REQUIRED_RATIO)


def rates(embedder: Embedder, photos: list[PhotoRef]) -> tuple[float, float, float]:
    """Photos per second of decoding alone, embedding alone and indexing."""

    decoder = PhotoDecoder()

    def decode(group: list[PhotoRef]) -> npt.NDArray[np.uint8]:
        contents = [read_photo(photo) for photo in group]
        return np.stack([decoder.read_pixels(content, embedder.bundle.resize).pixels for content in contents])

    decoding, pixels = on_all_cores(decode, list(batches(photos, embedder.session.provider.batch)))
    embedding, _ = on_all_cores(embedder.embed, pixels)
    bundle = embedder.bundle
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStore(Path(folder)).open(bundle.model_id, bundle.dimension) as index,
        BatchIndexer(embedder, index, PhotoDecoder(), threads=usable_cores()) as indexer,
    ):
        indexing, indexed = timed(lambda: sum(outcome.indexed for outcome in indexer.run(photos)))
    assert indexed == len(photos)
    return len(photos) / decoding, len(photos) / embedding, len(photos) / indexing


def on_all_cores(work: Callable[[Any], Any], groups: list[Any]) -> tuple[float, list[Any]]:
    """Run a function on all groups with one thread per core; return the seconds and the results."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        return timed(lambda: list(threads.map(work, groups)))


if __name__ == "__main__":
    sys.exit(main())
