"""What a search by an uploaded photo takes in addition to decoding, embedding and searching.

    python benchmarks/http_overhead.py --bundle BUNDLE --photos FOLDER [--requests 500] [--kilobytes 42]

Starts `lookalike serve` with a new index. Uploads of one photo, saved as a JPEG of about this size, alternate with
requests of `/healthz`, both over a persistent connection. The overhead of a search is its wall time less `took_ms`:
sending and parsing the form, validation, metrics, the log line, and the JSON of the results.
"""

import argparse
import http.client
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from options import bundle_and_photos, show
from PIL import Image
from served import served, upload

from retrieval.listing import list_photos

WARM_UP = 20


def main() -> None:
    options = _arguments()
    first = next(iter(list_photos(options.photos))).path
    photo = jpeg(first, 1000 * options.kilobytes)
    with served(options.bundle, options.photos) as server:
        show(_measure(server.address, photo, options.requests), options.json)


def _measure(address: str, photo: bytes, requests: int) -> dict[str, Any]:
    """Milliseconds: percentiles of each, and medians of the steps as the server reports them."""
    connection = http.client.HTTPConnection(address)
    search = ("POST", "/api/v1/search", *upload(photo))
    walls, overheads, healthy, steps = [], [], [], []
    for number in range(WARM_UP + requests):
        wall, answer = request(connection, *search)
        took = json.loads(answer)["took_ms"]
        other, _ = request(connection, "GET", "/healthz")
        if number >= WARM_UP:
            walls.append(wall)
            overheads.append(wall - sum(took.values()))
            healthy.append(other)
            steps.append(took)
    return {
        "photo_kb": round(len(photo) / 1000, 1),
        "search_p50_ms": percentile(walls, 50),
        "overhead_p50_ms": percentile(overheads, 50),
        "overhead_p10_ms": percentile(overheads, 10),
        "healthz_p50_ms": percentile(healthy, 50),
        "healthz_p10_ms": percentile(healthy, 10),
        "server_ms": {step: percentile([took[step] for took in steps], 50) for step in steps[0]},
    }


def request(connection: http.client.HTTPConnection, *request: Any) -> tuple[float, bytes]:
    """The milliseconds of a request, and the body of its response."""
    start = time.perf_counter()
    connection.request(*request)
    response = connection.getresponse()
    body = response.read()
    milliseconds = 1000 * (time.perf_counter() - start)
    if response.status != 200:
        raise RuntimeError(body.decode())
    return milliseconds, body


def percentile(values: list[float], percent: int) -> float:
    return round(float(np.percentile(values, percent)), 3)


def jpeg(path: Path, size: int) -> bytes:
    """A photo as a JPEG of at most `size` bytes, with the highest quality for which that is possible."""
    with Image.open(path) as image:
        for quality in range(95, 5, -5):
            image.convert("RGB").save(saved := io.BytesIO(), "JPEG", quality=quality)
            if saved.tell() <= size:
                return saved.getvalue()
    raise SystemExit(f"{path} can't be saved with {size} bytes.")


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--requests", type=int, default=500, help="number of uploads")
    parser.add_argument("--kilobytes", type=int, default=42, help="size of the photo")
    return parser.parse_args()


if __name__ == "__main__":
    main()
