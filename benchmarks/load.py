"""Mixed searches from a second process at the maximum rate: errors, latency, memory.

    python benchmarks/load.py --bundle BUNDLE --photos FOLDER --minutes 5

Several clients, each with its own connection, send requests one after another. Fails if a request fails, if p99 exceeds
five times p50, or if memory grew by more than 5 % after the first fifth.
"""

import argparse
import http.client
import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from options import bundle_and_photos
from served import Server, served, upload

from retrieval.cores import usable_cores
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef

SEARCH = "/api/v1/search"
Request = tuple[str, str, bytes | None, dict[str, str]]
JSON = {"Content-Type": "application/json"}


@dataclass
class Seen:
    """The clients' results, and the server's memory each second."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, print, and exit with 1 if a limit is exceeded."""
    arguments = _arguments()
    photos = list(list_photos(arguments.photos))
    with served(arguments.bundle, arguments.photos) as server:
        seen = _load(server, photos, arguments.clients, arguments.minutes * 60)
    result = _summary(seen, arguments.minutes * 60)
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    sys.exit(0 if result["held"] else 1)


def _load(server: Server, photos: list[PhotoRef], clients: int, seconds: float) -> Seen:
    seen = Seen()
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_client, args=(server.address, photos, end, seed, seen)) for seed in range(clients)
    ]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        seen.memory_mb.append(server.memory_mb())
        time.sleep(1)
    for thread in threads:
        thread.join()
    return seen


def _client(address: str, photos: list[PhotoRef], end: float, seed: int, seen: Seen) -> None:
    rng = random.Random(seed)
    connection = http.client.HTTPConnection(address, timeout=30)
    kinds = list(MIX)
    weights = [weight for weight, _ in MIX.values()]
    while time.monotonic() < end:
        (kind,) = rng.choices(kinds, weights)
        method, path, body, headers = MIX[kind][1](rng, photos)
        start = time.perf_counter()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            seen.errors.append(f"{kind}: {error!r}")
            connection.close()
            continue
        seen.milliseconds[kind].append((time.perf_counter() - start) * 1000)
        if response.status != 200:
            seen.errors.append(f"{kind}: {response.status} {content[:200]!r}")


def _by_upload(rng: random.Random, photos: list[PhotoRef]) -> Request:
    return "POST", SEARCH, *upload(rng.choice(photos).path.read_bytes(), k=rng.choice((5, 10, 50)))


def _by_part(rng: random.Random, photos: list[PhotoRef]) -> Request:
    return "POST", SEARCH, *upload(rng.choice(photos).path.read_bytes(), crop="0.25,0.25,0.5,0.5")


def _by_id(rng: random.Random, photos: list[PhotoRef]) -> Request:
    return "GET", f"/api/v1/images/{rng.choice(photos).id}/similar?k=10&offset={rng.choice((0, 10))}", None, {}


def _by_label(rng: random.Random, photos: list[PhotoRef]) -> Request:
    photo = rng.choice(photos)
    body = {"id": str(photo.id), "label": [photo.label] if photo.label else [], "k": 20}
    return "POST", SEARCH, json.dumps(body).encode(), JSON


def _by_examples(rng: random.Random, photos: list[PhotoRef]) -> Request:
    like, unlike = rng.sample(photos, 3), rng.sample(photos, 2)
    body = {"positive": [str(photo.id) for photo in like], "negative": [str(photo.id) for photo in unlike]}
    return "POST", SEARCH, json.dumps(body).encode(), JSON


# Relative frequency of each kind of request, and how to send it.
MIX: dict[str, tuple[int, Callable[[random.Random, list[PhotoRef]], Request]]] = {
    "upload": (60, _by_upload),
    "part of an upload": (10, _by_part),
    "indexed photo": (15, _by_id),
    "label": (10, _by_label),
    "examples": (5, _by_examples),
}


def _summary(seen: Seen, seconds: float) -> dict[str, object]:
    times = [took for kind in seen.milliseconds.values() for took in kind]
    p50, p99 = (float(np.percentile(times, share)) for share in (50, 99))
    fifth = max(1, len(seen.memory_mb) // 5)
    before, after = np.median(seen.memory_mb[fifth : 2 * fifth]), np.median(seen.memory_mb[-fifth:])
    return {
        "held": not seen.errors and p99 <= 5 * p50 and bool(after <= 1.05 * before),
        "requests": len(times),
        "requests_per_second": round(len(times) / seconds, 1),
        "errors": len(seen.errors),
        "first_errors": seen.errors[:3],
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "p50_ms_by_kind": {kind: round(float(np.median(took)), 1) for kind, took in seen.milliseconds.items()},
        "memory_mb": [round(float(before), 1), round(float(after), 1)],
    }


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long")
    parser.add_argument("--clients", type=int, default=2 * usable_cores(), help="number of concurrent clients")
    return parser.parse_args()


if __name__ == "__main__":
    main()
