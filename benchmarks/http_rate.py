"""Throughput of searches by uploaded photos, compared with ONNX Runtime alone on the same machine.

    python benchmarks/http_rate.py --bundle FLOAT32 [--int8 BUNDLE] --photos FOLDER [--seconds 4] [--runs 3]

Starts `lookalike serve` for each bundle. Several clients with persistent connections send prepared requests one after
another. Two other measurements alternate with this: ONNX Runtime alone, one thread per core, in groups of four decoded
photos, the fastest configuration; and decoding alone, one thread per core.

On the same cores, a query must also be sent, decoded and answered. `bound` is the throughput if decoding were the only
additional work. `processor ms per query` shows the rest: two cores provide 2,000 ms per second for the server and its
clients together.
"""

import argparse
import http.client
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from options import bundle_and_photos, show
from served import Server, served, upload
from timing import spread

from retrieval.bundle import Bundle, load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.listing import list_photos

PHOTOS = 64
Request = tuple[bytes, dict[str, str]]


def main() -> None:
    options = _arguments()
    bundles = {"float32": options.bundle} | ({"int8": options.int8} if options.int8 else {})
    listed = list(list_photos(options.photos))
    photos = [photo.path.read_bytes() for photo in listed[:: max(1, len(listed) // PHOTOS)]]
    result: dict[str, Any] = {"clients": options.clients, "cores": usable_cores()}
    for name, bundle in bundles.items():
        with served(bundle, options.photos) as server:
            result[name] = _measure(server, load_bundle(bundle), photos, options)
    show(result, options.json)


def _measure(server: Server, bundle: Bundle, photos: list[bytes], options: argparse.Namespace) -> dict[str, Any]:
    """Photos per second of each, and ratios of medians."""
    embedder = Embedder(bundle, threads=1)
    size = embedder.session.provider.batch
    groups = [photos[start : start + size] for start in range(0, len(photos), size)]
    requests = [upload(photo) for photo in photos]

    def search(connection: http.client.HTTPConnection, request: Request) -> int:
        connection.request("POST", "/api/v1/search", *request)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(content.decode())
        return 1

    def query(seconds: float) -> float:
        connections = [http.client.HTTPConnection(server.address, timeout=30) for _ in range(options.clients)]
        return _rate([partial(search, connection) for connection in connections], requests, seconds)

    def decode(group: list[bytes]) -> np.ndarray:
        return np.stack([PhotoDecoder().read_pixels(photo, bundle.resize).pixels for photo in group])

    def on_all_cores(work: Callable[[Any], np.ndarray], items: list[Any]) -> float:
        return _rate([lambda item: len(work(item))] * usable_cores(), items, options.seconds)

    pixels = [decode(group) for group in groups]
    query(1.0)  # the server is warm
    turns, completed, cost = [], 0.0, {"server": 0.0, "clients": 0.0}
    for _ in range(options.runs):
        at_server, at_clients, start = _processor_seconds(server.process), time.process_time(), time.monotonic()
        rate = query(options.seconds)
        completed += rate * (time.monotonic() - start)
        cost["server"] += _processor_seconds(server.process) - at_server
        cost["clients"] += time.process_time() - at_clients
        turns.append((rate, on_all_cores(embedder.embed, pixels), on_all_cores(decode, groups)))
    over_http, embedding, decoding = (spread(turn) for turn in zip(*turns, strict=True))
    queries, onnx = over_http["median"], embedding["median"]
    bound = 1 / (1 / onnx + 1 / decoding["median"])
    return {
        "queries_per_second": over_http,
        "onnx_images_per_second": embedding,
        "decoded_per_second": decoding,
        "processor_ms_per_query": {name: round(1000 * seconds / completed, 2) for name, seconds in cost.items()},
        "bound_per_second": round(bound, 1),
        "ratio_to_onnx": round(queries / onnx, 3),
        "ratio_to_bound": round(queries / bound, 3),
    }


def _processor_seconds(process: psutil.Process) -> float:
    """Processor seconds of a process and its children."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(of.user + of.system for of in times))


def _rate(workers: Sequence[Callable[[Any], int]], items: list[Any], seconds: float) -> float:
    """Photos per second of workers with one thread each; a worker returns the number of photos of an item."""
    end = time.monotonic() + seconds

    def run(number: int) -> int:
        done = 0
        for item in cycle(items[number:] + items[:number]):
            if time.monotonic() > end:
                break
            done += workers[number](item)
        return done

    with ThreadPoolExecutor(len(workers)) as threads:
        start = time.monotonic()
        return sum(threads.map(run, range(len(workers)))) / (time.monotonic() - start)


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--int8", type=Path, help="the same network in int8, to be measured, too")
    parser.add_argument("--clients", type=int, default=2 * usable_cores(), help="number of concurrent clients")
    parser.add_argument("--seconds", type=float, default=4, help="of a turn")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
