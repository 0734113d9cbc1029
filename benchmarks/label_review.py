"""How many photos a person reviews in the queue of likely mislabelled photos until most wrong labels are corrected.

    python benchmarks/label_review.py --bundle BUNDLE --photos FOLDER --splits FILE [--json]

The test photos are the index. Some of their labels are changed to another class at random, and the photos of the queue
are reviewed in its order, until 80 % of the changed labels were seen. The target is at most 1.5 photos for each changed
label if 10 % were changed. The photos of the data set that are mislabelled, or show several classes, count as errors.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from options import bundle_and_photos, show

from indexer.gallery import Gallery
from indexer.label_issues import find_doubtful
from retrieval.bundle import Bundle, load_bundle
from retrieval.cores import usable_cores
from retrieval.embedder import Embedder
from retrieval.index import Payload
from retrieval.parts import Parts
from trainer.data import Dataset, load_dataset, read_all
from trainer.sampling import slices

CORRECTED = 0.8  # share of the changed labels
MOST_REVIEWED = 1.5  # photos for each changed label
TARGET_SHARE = 0.1  # of the labels is changed
SHARES = (TARGET_SHARE, 0.02)
SEEDS = 10


def main() -> None:
    """Measure a bundle, print, and exit with 1 if the target is missed."""
    options = _arguments()
    dataset = load_dataset(str(options.photos), Path(), lambda _: None, splits=options.splits)
    gallery = _gallery(load_bundle(options.bundle), dataset)
    reviewed = {share: [_reviewed(gallery, share, seed) for seed in range(SEEDS)] for share in SHARES}
    held = max(reviewed[TARGET_SHARE]) <= MOST_REVIEWED
    ratios = {f"{share:.0%} changed": _spread(found) for share, found in reviewed.items()}
    show({"photos": len(gallery.photos), "reviewed_for_each_changed_label": ratios, "held": held}, options.json)
    sys.exit(0 if held else 1)


def _reviewed(gallery: Gallery, share: float, seed: int) -> float:
    """Return how many photos are reviewed for each changed label; infinite if the queue lacks too many of them."""
    rng = np.random.default_rng(seed)
    classes = sorted({str(photo.label) for photo in gallery.photos})
    changed = rng.choice(len(gallery.photos), round(share * len(gallery.photos)), replace=False)
    photos = list(gallery.photos)
    for at in changed.tolist():
        others = [name for name in classes if name != photos[at].label]
        photos[at] = replace(photos[at], label=str(rng.choice(others)))
    wrong = {photos[at].uri for at in changed.tolist()}
    queue = find_doubtful(replace(gallery, photos=photos))
    found = np.cumsum([uri in wrong for uri, _ in queue])
    enough = np.flatnonzero(found >= CORRECTED * len(wrong))
    return (int(enough[0]) + 1) / len(wrong) if len(enough) else float("inf")


def _gallery(bundle: Bundle, dataset: Dataset) -> Gallery:
    photos = dataset.split("test")
    embedder = Embedder(bundle, usable_cores())
    embeddings = [
        embedder.embed(read_all(photos[batch], bundle.resize, dataset.decoder)) for batch in slices(len(photos))
    ]
    payloads = [Payload(photo.uri, photo.label, photo.uri, 1, 1, 1, "", "") for photo in photos]
    return Gallery(payloads, np.concatenate(embeddings), Parts(bundle.manifest.parts), [photo.id for photo in photos])


def _spread(found: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(found)), 2),
        "least": round(min(found), 2),
        "most": round(max(found), 2),
    }


def _arguments() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__ or "")
    parser.add_argument("--splits", type=Path, required=True, help="path,label,split of each photo")
    return parser.parse_args()


if __name__ == "__main__":
    main()
