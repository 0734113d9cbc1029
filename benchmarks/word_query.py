"""A search by words over HTTP, compared with one by an uploaded photo, on a network of CLIP ViT-B/32's size.

    python benchmarks/word_query.py [--requests 60] [--kilobytes 42]

Both networks have random weights. `lookalike serve` answers searches by a sentence and uploads of a photo in turn, over
a persistent connection; each sentence is new. Target: the median of the sentences is lower than that of the photos.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from http_overhead import jpeg, percentile, request
from import_network import VOCABULARY, write_networks
from options import show
from served import LOOKALIKE, served, upload

from retrieval.importing.reference import sample_photo

PHOTOS = 24
WORDS = 8  # of a sentence
WARM_UP = 5


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=60, help="number of sentences and of uploads")
    parser.add_argument("--kilobytes", type=int, default=42, help="size of the photo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_networks(folder / "clip")
        command = [*LOOKALIKE, "import", str(folder / "clip"), "--out", str(folder / "bundle")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        photos = write_photos(folder / "photos")
        photo = jpeg(photos[0], 1000 * options.kilobytes)
        with served(folder / "bundle", folder / "photos") as server:
            result = measure(server.address, photo, options.requests)
    show(result, options.json)
    sys.exit(result["words_p50_ms"] >= result["photo_p50_ms"])


def write_photos(folder: Path) -> list[Path]:
    """Write generated photos."""
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(PHOTOS)]
    for number, path in enumerate(paths):
        sample_photo(number, (640, 480)).save(path, quality=90)
    return paths


def measure(address: str, photo: bytes, requests: int) -> dict[str, Any]:
    """Milliseconds of both kinds of searches, and the medians of the steps of a search by words."""
    connection, random = http.client.HTTPConnection(address), np.random.default_rng(0)
    by_photo, by_words, steps = [], [], []
    for number in range(WARM_UP + requests):
        sentence = " ".join(f"word{word}" for word in random.integers(1, VOCABULARY, WORDS))
        sent = json.dumps({"text": sentence}), {"Content-Type": "application/json"}
        of_words, answer = request(connection, "POST", "/api/v1/search", *sent)
        of_photo, _ = request(connection, "POST", "/api/v1/search", *upload(photo))
        if number >= WARM_UP:
            by_words.append(of_words)
            by_photo.append(of_photo)
            steps.append(json.loads(answer)["took_ms"])
    return {
        "photo_kb": round(len(photo) / 1000, 1),
        "words_p50_ms": percentile(by_words, 50),
        "words_p95_ms": percentile(by_words, 95),
        "photo_p50_ms": percentile(by_photo, 50),
        "photo_p95_ms": percentile(by_photo, 95),
        "words_server_ms": {step: percentile([took[step] for took in steps], 50) for step in steps[0]},
    }


if __name__ == "__main__":
    main()
