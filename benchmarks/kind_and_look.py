"""What two parts of an embedding retrieve: metrics by weight, duplicates, close matches, predicted labels.

    python benchmarks/kind_and_look.py --bundle BUNDLE [BUNDLE …] --photos FOLDER --splits FILE [--json]

Measured on the test photos; of several bundles, such as those of three seeds, the mean of each value is printed too.
Planted copies: 200 photos, a quarter each at half size, as JPEG of quality 60, cropped to 90 % of the sides, and 10 %
brighter or darker. False close matches: the photos of a class are the queries; the index has the vectors of the other
classes, drawn at random, with noise that leaves a cosine of about 0.95 to the photo's own. Predicted labels: the test
photos are the index, and each is searched for by its id. The expected calibration error is the mean difference of
confidence and share of right labels over 15 bins of equal width, weighted by their photos (Guo et al., "On Calibration
of Modern Neural Networks", 2017).
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from options import show

from indexer.duplicates import find_duplicates
from indexer.gallery import Gallery
from retrieval.analysis.calibration import ScoreThresholds
from retrieval.analysis.copies import near_identical_copies
from retrieval.analysis.evaluation import evaluate_by_look, evaluate_embeddings
from retrieval.bundle import Bundle, load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import Payload, Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.parts import Parts
from retrieval.photo_ref import PhotoRef, photo_id
from retrieval.search import Searcher, SearchParameters
from retrieval.stores import read_file
from retrieval.top_k import Embeddings, top_k
from trainer.data import Dataset, labels_of, load_dataset, read_all
from trainer.sampling import slices

PLANTED = 200
INDEXED = (1_000, 100_000)
COSINE_OF_NOISE = 0.95
BINS = 15


def main() -> None:
    """Measure bundles and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, nargs="+")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos for each class")
    parser.add_argument("--splits", type=Path, required=True, help="path,label,split of each photo")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    dataset = load_dataset(str(options.photos), Path(), lambda _: None, splits=options.splits)
    results = {str(folder): measure(load_bundle(folder), dataset) for folder in options.bundle}
    show(results | {"mean": mean_of(list(results.values()))}, options.json)


def mean_of(results: list[Any]) -> Any:
    """The mean of each number over several results; other values are omitted."""
    first = results[0]
    if isinstance(first, dict):
        means = {name: mean_of([result[name] for result in results]) for name in first}
        return {name: mean for name, mean in means.items() if mean is not None}
    return round(float(np.mean(results)), 4) if isinstance(first, int | float) else None


def measure(bundle: Bundle, dataset: Dataset) -> dict[str, Any]:
    """Measure a bundle of two parts on the test photos of a data set."""
    photos, parts = dataset.split("test"), Parts(bundle.manifest.parts)
    embedder = Embedder(bundle, usable_cores())
    embeddings, copies = (
        np.concatenate(
            [
                embedder.embed(read_all(photos[batch], bundle.resize, dataset.decoder, edited=edited))
                for batch in slices(len(photos))
            ]
        )
        for edited in (False, True)
    )
    labels = labels_of(photos)
    data = bundle.manifest.calibration_data
    assert data is not None
    calibration = ScoreThresholds(data, parts)
    by_look = evaluate_by_look(embeddings, labels, copies, parts) or {}
    names = [photo.uri for photo in photos]
    contents = [read_file(photo.path) for photo in photos]
    planted = embedder.embed(_planted(contents, bundle, dataset))
    return {
        "default_look": parts.default_look,
        "default": evaluate_embeddings(embeddings, labels, copies=copies).overall,
        "by_look": {look: metrics.model_dump() for look, metrics in by_look.items()},
        "duplicates": _duplicates(np.concatenate([embeddings, planted]), names, parts, calibration),
        "close_matches": {
            str(count): _close_matches(embeddings, labels, parts, calibration, count) for count in INDEXED
        },
        "predicted_labels": _predicted_labels(embedder, embeddings, photos, dataset.decoder),
    }


def _planted(contents: list[bytes], bundle: Bundle, dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Near-identical copies of the first photos in random order, uint8 [200, size, size, 3]."""
    pixels = []
    for number, index in enumerate(_chosen(len(contents))):
        copies = list(near_identical_copies(dataset.decoder.decode(contents[index])))
        copy = copies[4 if number % 8 == 7 else number % 4]
        pixels.append(dataset.decoder.read_pixels(copy, bundle.resize).pixels)
    return np.stack(pixels)


def _chosen(photos: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).permutation(photos)[:PLANTED]


def _duplicates(embeddings: Embeddings, names: list[str], parts: Parts, calibration: ScoreThresholds) -> dict[str, Any]:
    """Precision and recall of the pairs within groups; pairs of different originals are listed, to be looked at."""
    originals = [names[index] for index in _chosen(len(names))]
    uris = [*names, *(f"copy of {name}" for name in originals)]
    photos = [Payload(uri, None, f"{number:064x}", 1, 1, 1, "", "") for number, uri in enumerate(uris)]
    threshold = calibration.duplicates(len(photos))
    found = find_duplicates(Gallery(photos, embeddings, parts, [photo_id(uri) for uri in uris]), threshold)
    pairs = {
        (one, other)
        for group in found.near_identical
        for place, one in enumerate(group.photos)
        for other in group.photos[place + 1 :]
    }
    right = {pair for pair in pairs if len({uri.removeprefix("copy of ") for uri in pair}) == 1}
    return {
        "threshold": round(threshold, 4),
        "pairs": len(pairs),
        "precision": round(len(right) / max(len(pairs), 1), 4),
        "recall": round(len(right) / PLANTED, 4),
        "of_different_photos": sorted(pairs - right)[:30],
    }


def _close_matches(
    embeddings: Embeddings, labels: npt.NDArray[np.str_], parts: Parts, calibration: ScoreThresholds, count: int
) -> dict[str, float]:
    """The share of queries without a match that are called close, and of queries with matches."""
    rng, threshold = np.random.default_rng(0), calibration.close_match(count)
    without, with_matches = [], []
    for label in np.unique(labels):
        queries, others = embeddings[labels == label], np.flatnonzero(labels != label)
        index = _noisy(embeddings[rng.choice(others, count)], rng)
        without.append(top_k(index, queries, 1)[0][:, 0] >= threshold)
    for query in range(0, len(embeddings), 5):
        others = np.delete(np.arange(len(embeddings)), query)
        index = embeddings[rng.choice(others, min(count, len(others)), replace=False)]
        with_matches.append(float((index @ embeddings[query]).max()) >= threshold)
    return {
        "threshold": round(threshold, 4),
        "false": round(float(np.concatenate(without).mean()), 4),
        "kept": round(float(np.mean(with_matches)), 4),
    }


def _predicted_labels(
    embedder: Embedder, embeddings: Embeddings, photos: list[PhotoRef], decoder: PhotoDecoder
) -> dict[str, float]:
    """The share of photos with a predicted label, the share of right ones, and the expected calibration error."""
    bundle = embedder.bundle
    points = [
        Point(photo.id, vector, Payload(photo.uri, photo.label, photo.uri, 1, 1, 1, "", ""))
        for photo, vector in zip(photos, embeddings, strict=True)
    ]
    parameters = SearchParameters(k=1)
    with (
        tempfile.TemporaryDirectory() as home,
        EmbeddedStore(Path(home)).open(bundle.model_id, bundle.dimension) as index,
    ):
        index.upsert(points)
        searcher = Searcher(embedder, index, decoder)
        predicted = [searcher.by_id(photo.id, parameters).predicted_label for photo in photos]
    pairs = [(found, photo.label) for found, photo in zip(predicted, photos, strict=True) if found is not None]
    confidence = np.array([found.confidence for found, _ in pairs])
    right = np.array([found.label == label for found, label in pairs])
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = sum(
        (bins == bin).mean() * abs(confidence[bins == bin].mean() - right[bins == bin].mean())
        for bin in np.unique(bins)
    )
    return {
        "predicted": round(len(pairs) / len(photos), 4),
        "right": round(float(right.mean()), 4),
        "expected_calibration_error": round(float(error), 4),
    }


def _noisy(vectors: Embeddings, rng: np.random.Generator) -> Embeddings:
    length = np.sqrt(1 / COSINE_OF_NOISE**2 - 1)
    noise = rng.normal(size=vectors.shape)
    noisy = vectors + length * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    scaled: Embeddings = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    return scaled


if __name__ == "__main__":
    main()
