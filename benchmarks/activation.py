"""Activating a model with many photos over HTTP: how long the request and the job take.

    python benchmarks/activation.py --bundle CURRENT --other BUNDLE --photos FOLDER --points 1000000

The photos are indexed with the current model. The index of the other model holds the same photos and synthetic points
in random clusters, without a graph. The target is a response within two seconds; the checks run as a job.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mixed_load import API, JSON, KEY
from options import bundle_and_photos, show
from served import LOOKALIKE, serving

from retrieval.bundle import Bundle, load_bundle
from retrieval.index import Payload, Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id

BATCH = 5_000
CLUSTERS = 2000
MAX_SECONDS = 2.0
JOB_MINUTES = 30


def main() -> None:
    """Measure, print, and exit with 1 if the response took longer than two seconds or the model was not activated."""
    arguments = _arguments()
    other = load_bundle(arguments.other)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as home:
        environment = os.environ | {"LOOKALIKE_HOME": home, "LOOKALIKE_API_KEYS": KEY}
        for bundle in (arguments.bundle, arguments.other):
            command = [*LOOKALIKE, "index", str(arguments.photos), "--bundle", str(bundle)]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        start = time.perf_counter()
        _fill(Path(home, "index"), other, arguments.points)
        filled = time.perf_counter() - start
        with serving(environment) as server:
            result = {"points": arguments.points, "fill_seconds": round(filled, 1)}
            result |= _activate(http.client.HTTPConnection(server.address, timeout=120), other.model_id)
    held = result["response_seconds"] <= MAX_SECONDS and result["state"] == "done"
    show({"held": held} | result, arguments.json)
    sys.exit(0 if held else 1)


def _fill(folder: Path, bundle: Bundle, count: int) -> None:
    """Add synthetic points to the index of a bundle."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, bundle.dimension)).astype(np.float32)
    with EmbeddedStore(folder) as store, store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
        for start in range(0, count, BATCH):
            clusters = rng.integers(CLUSTERS, size=min(BATCH, count - start))
            noise = rng.standard_normal((len(clusters), bundle.dimension), dtype=np.float32)
            vectors = centres[clusters] + 0.5 * noise
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            numbered = zip(range(start, count), vectors, clusters.tolist(), strict=False)
            index.upsert([_point(number, vector, cluster) for number, vector, cluster in numbered])


def _point(number: int, vector: Any, cluster: int) -> Point:
    uri = f"file:///synthetic/{number}.jpg"
    payload = Payload(uri, f"cluster {cluster}", f"{number:064x}", 640, 480, 100_000, "2026-01-01", "2026-01-01")
    return Point(photo_id(uri), vector, payload)


def _activate(connection: http.client.HTTPConnection, model: str) -> dict[str, Any]:
    start = time.perf_counter()
    status, document = _call(connection, "POST", f"{API}/models/{model}/activate")
    result: dict[str, Any] = {"response_seconds": round(time.perf_counter() - start, 3), "status": status}
    while status == 202 and document["state"] == "running" and time.perf_counter() - start < 60 * JOB_MINUTES:
        time.sleep(0.5)
        _, document = _call(connection, "GET", f"{API}/jobs/{document['id']}")
    result["checked_after_seconds"] = round(time.perf_counter() - start, 1)
    return result | {"state": document.get("state", "done"), "error": document.get("error", document.get("detail"))}


def _call(connection: http.client.HTTPConnection, method: str, path: str) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, None, JSON)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="the bundle of the model that is activated")
    parser.add_argument("--points", type=int, default=1_000_000, help="number of synthetic points in its index")
    parser.add_argument("--folder", type=Path, help="folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
