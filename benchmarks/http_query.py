"""How long an uploaded photo takes over HTTP, beside the bare ONNX Runtime call for one image, in the same run.

    python benchmarks/http_query.py --bundle BUNDLE --photos FOLDER

Starts a real `lookalike serve` on an index of its own, and takes turns: some uploads over a kept connection, as many
bare calls, with a pause between the two in which the threads of the one that went before come to rest.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import onnxruntime

from retrieval.bundle import Bundle, load_bundle
from retrieval.photos import list_photos
from retrieval.settings import load_settings

LOOKALIKE = [sys.executable, "-m", "lookalike"]
Result = TypeVar("Result")
BOUNDARY = "photo"
TURN = 100
PAUSE_SECONDS = 0.5


def main() -> None:
    """Measure, and print both medians and their ratio."""
    arguments = _arguments()
    bundle = load_bundle(arguments.bundle)
    photos = [photo.path.read_bytes() for photo in list_photos(arguments.photos)][: arguments.requests]
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LOOKALIKE_HOME": home}
        index = [*LOOKALIKE, "index", str(arguments.photos), "--bundle", str(arguments.bundle)]
        subprocess.run(index, env=environment, check=True)
        with _served(environment) as address:
            result = _measure(address, bundle, photos)
    if arguments.json:
        print(json.dumps(result))
    else:
        print("over HTTP p50 {http_ms} ms, p95 {http_p95_ms} ms".format(**result), end=": ")
        print("decode {decode_ms} ms, embed {embed_ms} ms, search {search_ms} ms".format(**result))
        print("bare ONNX Runtime p50 {onnx_ms} ms; ratio {ratio}".format(**result))


def _measure(address: str, bundle: Bundle, photos: list[bytes]) -> dict[str, float]:
    connection = http.client.HTTPConnection(address)
    bare_call = _bare_call(bundle)
    http_ms, onnx_ms, steps = [], [], []
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
        "http_p95_ms": round(float(np.percentile(http_ms, 95)), 2),
        "onnx_ms": round(bare, 2),
        "ratio": round(over_http / bare, 2),
        **{f"{step}_ms": round(statistics.median(took[step] for took in steps), 2) for step in steps[0]},
    }


def _upload(connection: http.client.HTTPConnection, photo: bytes) -> dict[str, Any]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
    body = head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    connection.request("POST", "/api/v1/search", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
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


@contextmanager
def _served(environment: dict[str, str]) -> Iterator[str]:
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        yield urlsplit(json.loads(server.stdout.readline())["url"]).netloc
    finally:
        server.terminate()
        server.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos, indexed and then uploaded")
    parser.add_argument("--requests", type=int, default=300, help="how many uploads")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
