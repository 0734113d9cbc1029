"""How fast a bundle embeds pixels, compared with another one: what the part look costs.

    python benchmarks/embedding_speed.py --bundle BUNDLE --against BUNDLE --photos FOLDER [--json]

Both should be bundles of the same backbone, such as one of the recipe `default` and one of `notebook-facenet`, which
has the part kind alone. They embed the same batch of photos in turn, so that other load affects both. `speed` is that
of the first as a multiple of the second: the ratio of the medians. The target is 0.97.
"""

import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from options import bundle_and_photos, show
from timing import spread, timed

from retrieval.bundle import load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.listing import list_photos

BATCH = 32
LEAST_SPEED = 0.97


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = bundle_and_photos(__doc__ or "")
    parser.add_argument("--against", type=Path, required=True, help="the bundle to compare with")
    parser.add_argument("--rounds", type=int, default=60, help="how many batches each bundle embeds")
    options = parser.parse_args()
    seconds = measure(options.bundle, options.against, options.photos, options.rounds)
    speed = float(np.median(seconds[1]) / np.median(seconds[0]))
    rates = {f"{name}_seconds": spread(of) for name, of in zip(("bundle", "against"), seconds, strict=True)}
    show({"photos_per_batch": BATCH, **rates, "speed": speed, "held": speed >= LEAST_SPEED}, options.json)
    sys.exit(speed < LEAST_SPEED)


def measure(bundle: Path, against: Path, photos: Path, rounds: int) -> tuple[list[float], list[float]]:
    """The seconds of each batch with both bundles, in turn."""
    embedders = [Embedder(load_bundle(folder), usable_cores()) for folder in (bundle, against)]
    contents = [photo.path.read_bytes() for photo in islice(list_photos(photos), BATCH)]
    seconds: tuple[list[float], list[float]] = ([], [])
    decoder = PhotoDecoder()
    batches = [np.stack([decoder.read_pixels(c, e.bundle.resize).pixels for c in contents]) for e in embedders]
    for number in range(rounds + 1):
        for embedder, batch, of in zip(embedders, batches, seconds, strict=True):
            took, _ = timed(partial(embedder.embed, batch))
            if number:  # the first one allocates memory
                of.append(took)
    return seconds


if __name__ == "__main__":
    main()
