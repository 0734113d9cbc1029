"""What indexing costs beside its two steps, decoding alone and embedding alone, on the same cores.

    python benchmarks/pipeline.py --bundle BUNDLE --photos FOLDER [--runs 3]

Each of the three works on groups of four photos, a thread to a core: decoding reads and resizes them, embedding takes
pixels from memory, indexing does all of it and hashes, looks up and writes durably. They take turns, so that whatever
else the machine does meets all. Decoding and embedding share the cores, so that indexing can only be as fast as
`bound`: a photo takes the time of both. Exits with 1 where indexing is slower than 0.9 of that.
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

from indexer.batch import GROUP, BatchIndexer, batches
from retrieval.bundle import load_bundle
from retrieval.embedder import Embedder
from retrieval.images import read_pixels
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photos import PhotoRef, file_content
from retrieval.settings import usable_cores

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
    """Photos a second of decoding alone, of embedding alone and of indexing."""

    def decode(group: list[PhotoRef]) -> npt.NDArray[np.uint8]:
        return np.stack([read_pixels(file_content(photo), embedder.bundle.resize).pixels for photo in group])

    decoding, pixels = on_all_cores(decode, list(batches(photos, GROUP)))
    embedding, _ = on_all_cores(embedder.embed, pixels)
    bundle = embedder.bundle
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStore(Path(folder)).open(bundle.model_id, bundle.dimension) as index,
        BatchIndexer(embedder, index, threads=usable_cores()) as indexer,
    ):
        indexing, indexed = timed(lambda: sum(outcome.indexed for outcome in indexer.run(photos)))
    assert indexed == len(photos)
    return len(photos) / decoding, len(photos) / embedding, len(photos) / indexing


def on_all_cores(work: Callable[[Any], Any], groups: list[Any]) -> tuple[float, list[Any]]:
    """How long a piece of work takes for all groups, a thread to a core, and what it gives."""
    with ThreadPoolExecutor(usable_cores()) as threads:
        return timed(lambda: list(threads.map(work, groups)))


if __name__ == "__main__":
    sys.exit(main())
