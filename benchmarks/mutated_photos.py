"""Upload photos damaged in many ways to a server.

    python benchmarks/mutated_photos.py --bundle BUNDLE --photos FOLDER --uploads 10000

The server must respond to each with 200 or 4xx within two seconds and must not restart; its memory must stay within 5 %
of its value after the first fifth.
"""

import argparse
import http.client
import io
import json
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
from options import bundle_and_photos
from PIL import Image
from served import served, upload

from retrieval.listing import list_photos

LONGEST_SECONDS = 2.0
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ANIMATED = ("PNG", "WEBP", "GIF", "TIFF")


def main() -> None:
    """Upload, print the responses, and exit with 1 if a requirement is violated."""
    arguments = _arguments()
    rng = random.Random(arguments.seed)
    photos = _photos([photo.path for photo in islice(list_photos(arguments.photos), 20)])
    statuses: Counter[str] = Counter()
    slowest, memory, wrong = 0.0, [], []
    with served(arguments.bundle, arguments.photos) as server:
        worker = server.worker()
        connection = http.client.HTTPConnection(server.address, timeout=30)
        for number in range(arguments.uploads):
            name = rng.choice(list(MUTATIONS))
            photo = MUTATIONS[name](rng, rng.choice(photos), rng.choice(photos))
            start = time.perf_counter()
            connection.request("POST", "/api/v1/search", *upload(photo))
            response = connection.getresponse()
            response.read()
            took = time.perf_counter() - start
            slowest = max(slowest, took)
            statuses[f"{name}: {response.status}"] += 1
            if not (response.status == 200 or 400 <= response.status < 500) or took > LONGEST_SECONDS:
                wrong.append(f"upload {number} ({name}): {response.status} after {took:.1f} s")
            memory.append(server.memory_mb())
        survived = server.worker() == worker
    fifth = max(1, len(memory) // 5)
    before, after = float(np.median(memory[fifth : 2 * fifth])), float(np.median(memory[-fifth:]))
    held = survived and not wrong and after <= 1.05 * before
    print(json.dumps({"held": held, "slowest_s": round(slowest, 2), "wrong": wrong[:10], "same_process": survived}))
    course = [round(memory[len(memory) * tenth // 10 - 1], 1) for tenth in range(1, 11)]
    print(json.dumps({"memory_mb": course, "answers": dict(sorted(statuses.items()))}))
    sys.exit(0 if held else 1)


def _photos(paths: list[Path]) -> list[bytes]:
    """Each photo in each format; GIF, PNG, WebP and TIFF with a second frame."""
    made = []
    for path in paths:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        for format in FORMATS:
            frames = {"save_all": True, "append_images": [image.rotate(90)]} if format in ANIMATED else {}
            buffer = io.BytesIO()
            image.save(buffer, format, **frames)
            made.append(buffer.getvalue())
    return made


def _flip_bits(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    changed = bytearray(photo)
    for _ in range(rng.choice((1, 4, 32, 256))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _damage_the_header(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    changed = bytearray(photo)
    for _ in range(rng.choice((1, 2, 8))):
        changed[rng.randrange(min(64, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def _truncate(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    return photo[: rng.randrange(len(photo))]


def _swap_headers(rng: random.Random, photo: bytes, other: bytes) -> bytes:
    length = rng.choice((4, 12, 32, 128))
    return other[:length] + photo[length:]


def _make_huge(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    """Change the dimensions in the header if their position is known, otherwise any two numbers."""
    sides = [rng.choice((0, 1, 4_000, 8_000, 65_500, 2**31 - 1)) for _ in range(2)]
    if photo.startswith(b"\x89PNG"):
        return photo[:16] + struct.pack(">II", *sides) + photo[24:]
    if photo.startswith(b"GIF8"):
        return photo[:6] + struct.pack("<HH", *(side & 0xFFFF for side in sides)) + photo[10:]
    if photo.startswith(b"BM"):
        return photo[:18] + struct.pack("<II", *sides) + photo[26:]
    if (frame := photo.find(b"\xff\xc0")) > 0:
        return photo[: frame + 5] + struct.pack(">HH", *(side & 0xFFFF for side in sides)) + photo[frame + 9 :]
    place = rng.randrange(len(photo) - 8)
    return photo[:place] + struct.pack("<II", *sides) + photo[place + 8 :]


def _nest(rng: random.Random, photo: bytes, other: bytes) -> bytes:
    place = rng.randrange(len(photo))
    return photo[:place] + other + photo[place:]


def _repeat_a_part(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    start = rng.randrange(len(photo))
    part = photo[start : start + rng.choice((4, 64, 4096))]
    return photo[:start] + part * rng.choice((2, 16, 64)) + photo[start:]


def _remove_a_part(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    start = rng.randrange(len(photo))
    return photo[:start] + photo[start + rng.choice((1, 2, 16, 1024)) :]


def _overwrite_with_noise(rng: random.Random, photo: bytes, _: bytes) -> bytes:
    start = rng.randrange(len(photo))
    noise = rng.randbytes(rng.choice((2, 64, 2048)))
    return photo[:start] + noise + photo[start + len(noise) :]


def _leave_whole(_: random.Random, photo: bytes, __: bytes) -> bytes:
    return photo


MUTATIONS: dict[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "whole": _leave_whole,
    "bits flipped": _flip_bits,
    "header damaged": _damage_the_header,
    "truncated": _truncate,
    "headers swapped": _swap_headers,
    "huge": _make_huge,
    "nested": _nest,
    "a part repeated": _repeat_a_part,
    "a part removed": _remove_a_part,
    "noise": _overwrite_with_noise,
}


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--uploads", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="for the mutations")
    return parser.parse_args()


if __name__ == "__main__":
    main()
