"""Throughput of ONNX Runtime by batch size and number of threads.

    python benchmarks/batches_and_threads.py --bundle BUNDLE --photos FOLDER [--seconds 0.6] [--runs 3]

`threads of one call` share each batch. `calls side by side` have one thread and one batch each; photos are indexed this
way. Before the measurement, the embeddings of all variants are compared; they must be equal.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
from options import bundle_and_photos, show
from timing import spread

from retrieval.bundle import load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.listing import list_photos

BATCHES = (1, 2, 4, 8, 16, 32)
Pixels = npt.NDArray[np.uint8]
Embed = Callable[[Pixels], npt.NDArray[np.float32]]


def main() -> None:
    options = _arguments()
    bundle, cores = load_bundle(options.bundle), usable_cores()
    listed = islice(cycle(list(list_photos(options.photos))), max(BATCHES))
    pixels = np.stack([PhotoDecoder().read_pixels(photo.path.read_bytes(), bundle.resize).pixels for photo in listed])
    counts = sorted({cores} | {2**power for power in range(cores.bit_length())})
    shared = {f"{threads}_threads_of_one_call": Embedder(bundle, threads).embed for threads in counts}
    alone = Embedder(bundle, threads=1).embed
    expected = alone(pixels)
    for name, embed in shared.items():
        assert np.allclose((embed(pixels) * expected).sum(axis=1), 1, atol=1e-4), name
    ways: dict[str, tuple[Embed, int]] = {name: (embed, 1) for name, embed in shared.items()}
    ways[f"{cores}_calls_side_by_side"] = (alone, cores)
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for _ in range(options.runs):
        for size in BATCHES:
            for name, (embed, callers) in ways.items():
                rate = _images_per_second(embed, pixels[:size], callers, options.seconds)
                rates[name].setdefault(f"batch_{size}", []).append(rate)
    result: dict[str, Any] = {"precision": bundle.manifest.precision, "cores": cores}
    result |= {name: {size: spread(of) for size, of in by_size.items()} for name, by_size in rates.items()}
    show(result, options.json)


def _images_per_second(embed: Embed, batch: Pixels, callers: int, seconds: float) -> float:
    """Throughput with several calling threads, each with its own batch."""
    end = time.monotonic() + seconds

    def call(_: int) -> int:
        done = 0
        while time.monotonic() < end:
            done += len(embed(batch))
        return done

    with ThreadPoolExecutor(callers) as threads:
        start = time.monotonic()
        return sum(threads.map(call, range(callers))) / (time.monotonic() - start)


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each measurement")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
