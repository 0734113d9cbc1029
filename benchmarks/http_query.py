"""How long an uploaded photo takes over HTTP, beside the bare ONNX Runtime call for one image, in the same run.

    python benchmarks/http_query.py --bundle BUNDLE --photos FOLDER

Starts a real `lookalike serve` on an index of its own, and takes turns: some uploads over a kept connection, as many
bare calls, with a pause between the two in which the threads of the one that went before come to rest.
"""

import argparse
import http.client
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import onnxruntime
from options import bundle_and_photos
from served import served, upload

from retrieval.bundle import Bundle, load_bundle
from retrieval.listing import list_photos
from retrieval.settings import load_settings

Result = TypeVar("Result")
TURN = 100
PAUSE_SECONDS = 0.5


def main() -> None:
    """Measure, and print both medians and their ratio."""
    arguments = _arguments()
    bundle = load_bundle(arguments.bundle)
    photos = [photo.path.read_bytes() for photo in list_photos(arguments.photos)][: arguments.requests]
    with served(arguments.bundle, arguments.photos) as server:
        result = _measure(server.address, bundle, photos)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            "over HTTP p50 {http_ms} ms, p95 {http_p95_ms} ms, the first {http_first_ms} ms".format(**result), end=": "
        )
        print("decode {decode_ms} ms, embed {embed_ms} ms, search {search_ms} ms".format(**result))
        print("bare ONNX Runtime p50 {onnx_ms} ms; ratio {ratio}".format(**result))


def _measure(address: str, bundle: Bundle, photos: list[bytes]) -> dict[str, float]:
    connection = http.client.HTTPConnection(address)
    bare_call = _bare_call(bundle)
    http_ms, onnx_ms, steps = [], [], []
    first_ms, _ = _timed(partial(_upload, connection, photos[0]))
    for start in range(0, len(photos), TURN):
        turn = photos[start : start + TURN]
        time.sleep(PAUSE_SECONDS)
        for photo in turn:
            took, answer = _timed(partial(_upload, connection, photo))
            http_ms.append(took)
            steps.append(answer["took_ms"])
        time.sleep(PAUSE_SECONDS)
        onnx_ms += [_timed(bare_call)[0] for _ in turn]
    over_http, bare = statistics.median(http_ms), statistics.median(onnx_ms)
    return {
        "requests": len(photos),
        "http_ms": round(over_http, 2),
        "http_first_ms": round(first_ms, 2),
        "http_p95_ms": round(float(np.percentile(http_ms, 95)), 2),
        "onnx_ms": round(bare, 2),
        "ratio": round(over_http / bare, 2),
        **{f"{step}_ms": round(statistics.median(took[step] for took in steps), 2) for step in steps[0]},
    }


def _upload(connection: http.client.HTTPConnection, photo: bytes) -> dict[str, Any]:
    connection.request("POST", "/api/v1/search", *upload(photo))
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(answer.decode())
    return dict(json.loads(answer))


def _bare_call(bundle: Bundle) -> Callable[[], object]:
    """One image through the network with ONNX Runtime alone, on as many threads as the server uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = load_settings().embedding_threads
    session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
    side = bundle.resize.size
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    return lambda: session.run(["embeddings"], {"images": image})


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Milliseconds, and what the call gave."""
    start = time.perf_counter()
    result = call()
    return (time.perf_counter() - start) * 1000, result


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--requests", type=int, default=300, help="how many uploads")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
