"""Latency of a search by an uploaded photo, compared with its minimum and with Keras, in one run.

    python benchmarks/http_query.py --bundle FLOAT32 [--int8 BUNDLE] --photos FOLDER [--requests 200]

Starts `lookalike serve` with a new index for each bundle. Three measurements alternate, with a pause after each until
its threads are idle: uploads over a persistent connection; decoding the same photos with one bare ONNX Runtime call
each; Keras `predict` of one image that is already decoded. Each uploaded photo is indexed and must be found first.
"""

import argparse
import http.client
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from keras_model import quiet_environment, write_keras_model
from options import bundle_and_photos, show
from served import served, upload
from timing import spread, timed

from retrieval.bundle import Bundle, load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.listing import list_photos
from retrieval.session import onnxruntime
from retrieval.settings import load_settings

TURN = 40
KERAS_CALLS = 10  # per turn; each takes as long as several uploads
PAUSE_SECONDS = 0.5
ITSELF = 0.999  # the minimum score of a photo with itself


def main() -> None:
    options = _arguments()
    bundles = {"float32": options.bundle} | ({"int8": options.int8} if options.int8 else {})
    listed = list(list_photos(options.photos))
    photos = [photo.path.read_bytes() for photo in listed[:: -(-len(listed) // options.requests)]]
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as keras:
        cosine = write_keras_model(Path(folder), options.photos, bundles.values())
        keras.submit(_load_keras, folder, quiet_environment()).result()
        result: dict[str, Any] = {"requests": len(photos), "cosine_with_keras": cosine}
        for name, bundle in bundles.items():
            with served(bundle, options.photos) as server:
                result[name] = _measure(server.address, load_bundle(bundle), photos, keras)
    show(result, options.json)


def _measure(address: str, bundle: Bundle, photos: list[bytes], keras: Executor) -> dict[str, Any]:
    """Milliseconds of each, the steps as reported by the server, and ratios of medians."""
    connection = http.client.HTTPConnection(address)
    bare = _bare_session(bundle)
    first, _ = timed(partial(_upload, connection, photos[0]))
    over_http, decoding, embedding, predicting, steps = [], [], [], [], []
    for start in range(0, len(photos), TURN):
        turn = photos[start : start + TURN]
        time.sleep(PAUSE_SECONDS)
        for photo in turn:
            seconds, answer = timed(partial(_upload, connection, photo))
            over_http.append(1000 * seconds)
            steps.append(answer["took_ms"])
        time.sleep(PAUSE_SECONDS)
        for photo in turn:
            seconds, decoded = timed(partial(PhotoDecoder().read_pixels, photo, bundle.resize))
            decoding.append(1000 * seconds)
            embedding.append(1000 * timed(partial(bare, decoded.pixels[None]))[0])
        time.sleep(PAUSE_SECONDS)
        predicting += keras.submit(_predict, decoded.pixels[None]).result()
    result = {
        "http_ms": spread(over_http),
        "http_p95_ms": round(float(np.percentile(over_http, 95)), 2),
        "http_first_ms": round(1000 * first, 2),
        "server_ms": {step: round(float(np.median([took[step] for took in steps])), 2) for step in steps[0]},
        "bare_decoding_ms": spread(decoding),
        "bare_onnx_ms": spread(embedding),
        "bare_ms": spread(map(sum, zip(decoding, embedding, strict=True))),
        "keras_predict_ms": spread(predicting),
    }
    median = result["http_ms"]["median"]
    result["ratio_to_bare"] = round(median / result["bare_ms"]["median"], 3)
    result["times_faster_than_keras"] = round(result["keras_predict_ms"]["median"] / median, 2)
    return result


def _upload(connection: http.client.HTTPConnection, photo: bytes) -> dict[str, Any]:
    connection.request("POST", "/api/v1/search", *upload(photo))
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(answer.decode())
    found: dict[str, Any] = json.loads(answer)
    assert found["results"][0]["score"] > ITSELF, found
    return found


def _bare_session(bundle: Bundle) -> Callable[[np.ndarray], object]:
    """Embed one photo with ONNX Runtime alone, with as many threads as the server."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = load_settings().embedding_threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["embeddings"], {"images": image})


# The functions below run in a separate process, which keeps the model.

_model: Any


def _load_keras(folder: str, environment: dict[str, str]) -> None:
    global _model  # noqa: PLW0603 - one model a process
    import os  # noqa: PLC0415 - before TensorFlow, which reads it

    os.environ.update(environment)
    from original import load_model  # noqa: PLC0415 - imports TensorFlow

    _model = load_model(Path(folder))
    _predict(np.zeros((1, *_model.input_shape[1:]), np.uint8))


def _predict(image: np.ndarray) -> list[float]:
    """Milliseconds of several calls."""
    return [1000 * timed(partial(_model.predict, image, verbose=0))[0] for _ in range(KERAS_CALLS)]


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--int8", type=Path, help="the same network in int8, to be measured, too")
    parser.add_argument("--requests", type=int, default=200, help="how many uploads at most")
    return parser.parse_args()


if __name__ == "__main__":
    main()
