"""Peak memory of a server while large photos are uploaded in parallel.

    python benchmarks/upload_memory.py --bundle BUNDLE --photos FOLDER [--uploads 8] [--json]

Each upload is a search by a small PNG file of 8,000 × 8,000 pixels: with a palette and transparency, with alpha, or RGB
within a crop. The peak is the sum of the largest resident memory of each process of the server.
"""

import io
import re
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from options import bundle_and_photos, show
from PIL import Image
from served import Server, served, upload

SIDE = 8_000
COLOUR = (200, 40, 40, 128)
CROP = "0.05,0.05,0.9,0.9"
MOST_MB = 700


def main() -> int:
    """Measure, print, and return 1 if the peak is above 700 MB."""
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--uploads", type=int, default=8, help="uploads at the same time")
    options = parser.parse_args()
    with served(options.bundle, options.photos) as server:
        before = peak_mb(server)
        bodies = islice(cycle(list(large_photos())), 3 * options.uploads)
        with ThreadPoolExecutor(options.uploads) as clients:
            list(clients.map(lambda body: search(server, *body), bodies))
        result = {"uploads": options.uploads, "before_mb": before, "peak_mb": peak_mb(server)}
    show(result, options.json)
    return int(result["peak_mb"] > MOST_MB)


def large_photos() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Bodies and headers of searches by large photos."""
    palette = Image.new("P", (SIDE, SIDE), 1)
    palette.putpalette([*COLOUR[:3], 0, 0, 255])
    yield upload(_png(palette, transparency=1))
    yield upload(_png(Image.new("RGBA", (SIDE, SIDE), COLOUR)))
    yield upload(_png(Image.new("RGB", (SIDE, SIDE), COLOUR[:3])), crop=CROP)


def search(server: Server, body: bytes, headers: dict[str, str]) -> None:
    urllib.request.urlopen(urllib.request.Request(f"http://{server.address}/api/v1/search", body, headers)).close()


def peak_mb(server: Server) -> float:
    """The sum of the largest resident memory of each process of the server, in megabytes."""
    processes = [server.process, *server.process.children(recursive=True)]
    statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in processes]
    return sum(int(found[1]) for status in statuses if (found := re.search(r"VmHWM:\s+(\d+)", status))) * 1024 / 1e6


def _png(image: Image.Image, **options: object) -> bytes:
    image.paste(0 if image.mode == "P" else "white", (0, 0, SIDE // 2, SIDE // 2))
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


if __name__ == "__main__":
    raise SystemExit(main())
