"""Mixed requests from several clients: searches, `/models`, `/labels`, and jobs that are started and cancelled.

    python benchmarks/mixed_load.py --bundle BUNDLE --other BUNDLE --photos FOLDER --requests 200 --clients 8

The jobs index the photos with the other model, while `/models` lists both. Fails if a response has a status of 500 or
above, or 409 for another reason than that a job is already running.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from options import bundle_and_photos, show
from served import LOOKALIKE, serving, upload

from retrieval.bundle import load_bundle
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef

API = "/api/v1"
KEY = "benchmark"
JSON = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
SECOND_JOB = "Another job is running"
# Relative frequency of each kind of request.
MIX = {"search by id": 30, "search by upload": 20, "models": 20, "labels": 15, "job": 15}

Request = tuple[str, str, bytes | None, dict[str, str]]


@dataclass
class Seen:
    """The responses: milliseconds by kind of request, statuses, and those that must not occur."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)
    second_jobs: int = 0
    refused: list[str] = field(default_factory=list)


class Client:
    """Sends requests one after another on one connection."""

    def __init__(self, address: str, photos: list[PhotoRef], other: str, seen: Seen, seed: int) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=120)
        self._photos, self._other, self._seen = photos, other, seen
        self._rng = random.Random(seed)

    def run(self, numbers: "count[int]", requests: int) -> None:
        """Send requests until all clients together have sent that many."""
        while next(numbers) < requests:
            (kind,) = self._rng.choices(list(MIX), list(MIX.values()))
            status, document = self._send(kind, self._request(kind))
            if kind == "job" and status == 202 and next(numbers) < requests:
                time.sleep(self._rng.uniform(0, 0.2))
                self._send("cancel", ("POST", f"{API}/jobs/{document['id']}/cancel", b"{}", JSON))

    def _request(self, kind: str) -> Request:
        photo = self._rng.choice(self._photos)
        if kind == "search by id":
            return "POST", f"{API}/search", json.dumps({"id": str(photo.id)}).encode(), JSON
        if kind == "search by upload":
            return "POST", f"{API}/search", *upload(photo.path.read_bytes(), k=10)
        if kind == "job":
            job = {"sources": ["."], "model": self._other}
            return "POST", f"{API}/jobs", json.dumps(job).encode(), JSON
        return "GET", f"{API}/{kind}", None, {}

    def _send(self, kind: str, request: Request) -> tuple[int, dict[str, Any]]:
        start = time.perf_counter()
        self._connection.request(*request)
        response = self._connection.getresponse()
        document = json.loads(response.read())
        self._seen.milliseconds[kind].append((time.perf_counter() - start) * 1000)
        self._seen.statuses[response.status] += 1
        if response.status == 409 and kind == "job" and SECOND_JOB in document["detail"]:
            self._seen.second_jobs += 1
        elif response.status >= 400:
            self._seen.refused.append(f"{kind}: {response.status} {document.get('detail')}")
        return response.status, document


def main() -> None:
    """Measure, print, and exit with 1 if a request was refused."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "LOOKALIKE_HOME": home,
            "LOOKALIKE_API_KEYS": KEY,
            "LOOKALIKE_LIBRARY_ROOTS": str(arguments.photos.absolute()),
        }
        for bundle in (arguments.bundle, arguments.other):
            command = [*LOOKALIKE, "index", str(arguments.photos), "--bundle", str(bundle)]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        with serving(environment) as server:
            seen = _load(server.address, arguments)
    result = {
        "held": not seen.refused,
        "requests": sum(seen.statuses.values()),
        "refused": len(seen.refused),
        "first_refused": seen.refused[:3],
        "jobs_started": seen.statuses[202],
        "second_jobs": seen.second_jobs,
        "p50_ms": {kind: round(float(np.median(took)), 1) for kind, took in seen.milliseconds.items()},
        "most_ms": {kind: round(max(took), 1) for kind, took in seen.milliseconds.items()},
    }
    show(result, arguments.json)
    sys.exit(0 if result["held"] else 1)


def _load(address: str, arguments: argparse.Namespace) -> Seen:
    photos, other, seen = list(list_photos(arguments.photos)), load_bundle(arguments.other).model_id, Seen()
    numbers = count()  # shared: `next` of a counter is atomic
    clients = [Client(address, photos, other, seen, seed) for seed in range(arguments.clients)]
    threads = [threading.Thread(target=client.run, args=(numbers, arguments.requests)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="the bundle of another model, which jobs index with")
    parser.add_argument("--requests", type=int, default=200, help="number of requests of all clients together")
    parser.add_argument("--clients", type=int, default=8, help="number of concurrent clients")
    return parser.parse_args()


if __name__ == "__main__":
    main()
