"""How many uploaded photos a second a server answers, beside how many ONNX Runtime embeds when it has the machine.

    python benchmarks/http_rate.py --bundle FLOAT32 [--int8 BUNDLE] --photos FOLDER [--seconds 4] [--runs 3]

For each bundle a real `lookalike serve`; some clients, each on a kept connection, send the next upload as soon as the
last one is answered, from requests made before. In turns with that: ONNX Runtime alone, a thread to a core, in groups
of four photos that lie decoded in memory, which is the fastest way to feed it; and decoding alone, a thread to a core.

A query has to be sent, decoded and answered besides, on the same cores. `bound` is what would be left if that were
decoding and nothing else: a photo takes the time of both. `processor ms per query` says where the rest goes: two cores
have 2,000 ms a second for the server and its clients together.
"""

import argparse
import http.client
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from options import bundle_and_photos, show
from served import Server, served, upload
from timing import spread

from indexer.batch import GROUP
from retrieval.bundle import Bundle, load_bundle
from retrieval.embedder import Embedder
from retrieval.images import read_pixels
from retrieval.listing import list_photos
from retrieval.settings import usable_cores

PHOTOS = 64


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
    """Photos a second of each way, and the ratios of the medians."""
    embedder = Embedder(bundle, threads=1)
    groups = [photos[start : start + GROUP] for start in range(0, len(photos), GROUP)]

    def decode(group: list[bytes]) -> np.ndarray:
        return np.stack([read_pixels(photo, bundle.resize).pixels for photo in group])

    pixels = [decode(group) for group in groups]
    _http_rate(server.address, photos, options.clients, 1.0)  # the server is warm
    at_server, at_clients = _processor_seconds(server.process), time.process_time()
    answered = _http_rate(server.address, photos, options.clients, options.seconds) * options.seconds
    cost = {"server": _processor_seconds(server.process) - at_server, "clients": time.process_time() - at_clients}
    turns = [
        (
            _http_rate(server.address, photos, options.clients, options.seconds),
            _rate(embedder.embed, pixels, options.seconds),
            _rate(decode, groups, options.seconds),
        )
        for _ in range(options.runs)
    ]
    over_http, embedding, decoding = (spread(turn) for turn in zip(*turns, strict=True))
    queries, onnx = over_http["median"], embedding["median"]
    bound = 1 / (1 / onnx + 1 / decoding["median"])
    return {
        "queries_per_second": over_http,
        "onnx_images_per_second": embedding,
        "decoded_per_second": decoding,
        "processor_ms_per_query": {name: round(1000 * seconds / answered, 2) for name, seconds in cost.items()},
        "bound_per_second": round(bound, 1),
        "ratio_to_onnx": round(queries / onnx, 3),
        "ratio_to_bound": round(queries / bound, 3),
    }


def _processor_seconds(process: psutil.Process) -> float:
    """What a process and those that it started have computed."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(of.user + of.system for of in times))


def _http_rate(address: str, photos: list[bytes], clients: int, seconds: float) -> float:
    """Answered uploads a second."""
    requests = [upload(photo) for photo in photos]
    end = time.monotonic() + seconds
    answered = [0] * clients

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=30)
        for body, headers in cycle(requests[client:] + requests[:client]):
            if time.monotonic() > end:
                return
            connection.request("POST", "/api/v1/search", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(content.decode())
            answered[client] += 1

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / (time.monotonic() - start)


def _rate(work: Callable[[Any], np.ndarray], groups: list[Any], seconds: float) -> float:
    """Photos a second, a thread to a core."""
    end = time.monotonic() + seconds

    def run(thread: int) -> int:
        done = 0
        for group in cycle(groups[thread:] + groups[:thread]):
            if time.monotonic() > end:
                break
            done += len(work(group))
        return done

    with ThreadPoolExecutor(usable_cores()) as threads:
        start = time.monotonic()
        return sum(threads.map(run, range(usable_cores()))) / (time.monotonic() - start)


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--int8", type=Path, help="the same network in int8, to be measured, too")
    parser.add_argument("--clients", type=int, default=2 * usable_cores(), help="how many ask at a time")
    parser.add_argument("--seconds", type=float, default=4, help="of a turn")
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
