"""Latency and recall of the embedded index, compared with scikit-learn's exact search.

    python benchmarks/search_at_scale.py --points 100000
    python benchmarks/search_at_scale.py --points 1000000 --folder FOLDER    # keeps the index for the next run

The vectors are synthetic: 5,000 clusters of very different sizes with 200 labels, one of which more than a quarter of
all points have. Within a cluster they vary in 24 directions with a little noise, which gives an intrinsic dimension of
16 (TwoNN, Facco et al. 2017); the embeddings of 1,500 flower photos have 12. Uniform random vectors have no such
structure, and no graph index works well on them; they do not resemble embeddings of photos.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
from sklearn.neighbors import NearestNeighbors

from retrieval.index import Filter, Hit, Payload, Point, VectorIndex
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id

DIMENSION = 128
LABELS, CLUSTERS_PER_LABEL, IN_ONE_LABEL = 200, 25, 60
LATENT = 24
K = 10
BATCH = 1000
PAUSE_SECONDS = 0.5
FEWER = -1.0  # the score to reach if a label has fewer than ten photos

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """Vectors float32 [photos, 128], unit length, and the number of each one's label."""

    vectors: Vectors
    labels: npt.NDArray[np.int64]


def main() -> None:
    """Measure and print the result."""
    arguments = _arguments()
    made = clustered(arguments.points + arguments.queries)
    photos = Photos(made.vectors[: arguments.points], made.labels[: arguments.points])
    queries = Photos(made.vectors[arguments.points :], made.labels[arguments.points :])
    unopened = resident_mb()
    with _folder(arguments.folder) as folder, EmbeddedStore(folder).open("clustered", DIMENSION) as index:
        result: dict[str, object] = {"points": arguments.points, "queries": arguments.queries}
        if index.count() != arguments.points:
            result |= fill(index, photos)
        for query in queries.vectors:
            index.search(query, K)
        result["index_resident_mb"] = round(resident_mb() - unopened)
        result |= measure(index, photos, queries)
        if arguments.points <= arguments.most_brute:
            result |= beside_brute_force(index, photos, queries)
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


def clustered(count: int) -> Photos:
    """Synthetic embeddings; see the module."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(LABELS, DIMENSION)).astype(np.float32)
    clusters = LABELS * CLUSTERS_PER_LABEL
    centres = np.repeat(labels, CLUSTERS_PER_LABEL, 0) + 0.8 * rng.normal(size=(clusters, DIMENSION))
    sizes = rng.pareto(1.5, clusters) + 0.2
    cluster = rng.choice(clusters, count, p=sizes / sizes.sum())
    directions = np.linalg.qr(rng.normal(size=(DIMENSION, LATENT)))[0].T.astype(np.float32)
    directions *= (DIMENSION / LATENT) ** 0.5
    vectors = centres[cluster].astype(np.float32)
    for start in range(0, count, 100_000):
        part = vectors[start : start + 100_000]
        part += 0.6 * (rng.standard_normal((len(part), LATENT), dtype=np.float32) @ directions)
        part += 0.05 * rng.standard_normal(part.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    label = cluster // CLUSTERS_PER_LABEL
    return Photos(vectors, np.where(label < IN_ONE_LABEL, 0, label))


def fill(index: VectorIndex, photos: Photos) -> dict[str, float]:
    """Write the points and build the graph; return the seconds of each."""
    start = time.perf_counter()
    for first in range(0, len(photos.vectors), BATCH):
        index.upsert([_point(photos, number) for number in range(first, min(first + BATCH, len(photos.vectors)))])
    written = time.perf_counter()
    index.optimize()
    return {
        "upserts_per_second": round(len(photos.vectors) / (written - start)),
        "graph_seconds": round(time.perf_counter() - written, 1),
    }


def resident_mb() -> float:
    """Resident memory of this process, including mapped index files, which the system can evict."""
    return float(psutil.Process().memory_info().rss / 1e6)


def measure(index: VectorIndex, photos: Photos, queries: Photos) -> dict[str, float]:
    """Milliseconds and recall@10 of searches: with the graph, exact, and with a label filter.

    `cpu` is processor time, which depends little on other load.
    """
    own = [f"label {label}" for label in queries.labels]
    any_label = [f"label {label}" for label in np.random.default_rng(1).choice(np.unique(photos.labels), len(own))]
    best = _best_scores(photos, queries)
    searches: dict[str, tuple[Callable[[int], list[Hit]], Vectors]] = {
        "search": (lambda row: index.search(queries.vectors[row], K), best),
        "exact": (lambda row: index.search(queries.vectors[row], K, exact=True), best),
        "own_label": (
            lambda row: index.search(queries.vectors[row], K, Filter((own[row],))),
            _best_scores_within(photos, queries, own),
        ),
        "any_label": (
            lambda row: index.search(queries.vectors[row], K, Filter((any_label[row],))),
            _best_scores_within(photos, queries, any_label),
        ),
    }
    result: dict[str, float] = {}
    for name, (search, truth) in searches.items():
        for row in range(20):
            search(row)  # loads the files into memory
        took, computed, found, most = [], [], 0, 0
        for row in range(len(queries.vectors)):
            start, start_cpu = time.perf_counter(), time.process_time()
            hits = search(row)
            took.append((time.perf_counter() - start) * 1000)
            computed.append((time.process_time() - start_cpu) * 1000)
            found += sum(hit.score >= truth[row] - 1e-5 for hit in hits)
            most += len(hits) if truth[row] == FEWER else K
        result[f"{name}_p50_ms"] = round(float(np.median(took)), 3)
        result[f"{name}_p95_ms"] = round(float(np.percentile(took, 95)), 3)
        result[f"{name}_cpu_p95_ms"] = round(float(np.percentile(computed, 95)), 3)
        result[f"{name}_recall_at_10"] = round(found / most, 4)
    return result


def beside_brute_force(index: VectorIndex, photos: Photos, queries: Photos) -> dict[str, float]:
    """The same searches with scikit-learn and the index, alternating, and the speed-up."""
    brute = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(photos.vectors)
    peers: dict[str, Callable[[Vectors], object]] = {
        "index": lambda query: index.search(query, K),
        "scikit_learn": lambda query: brute.kneighbors(query[None]),
    }
    took: dict[str, list[float]] = {name: [] for name in peers}
    for first in range(0, 100, 20):
        for name, search in peers.items():
            time.sleep(PAUSE_SECONDS)  # until the other one's threads are idle
            for query in queries.vectors[first : first + 20]:
                start = time.perf_counter()
                search(query)
                took[name].append((time.perf_counter() - start) * 1000)
    medians = {name: float(np.median(values)) for name, values in took.items()}
    return {
        **{f"in_turn_{name}_p50_ms": round(median, 3) for name, median in medians.items()},
        "times_faster": round(medians["scikit_learn"] / medians["index"], 1),
    }


def _best_scores(photos: Photos, queries: Photos) -> Vectors:
    """The exact score of each query's tenth neighbour."""
    rows = [np.partition(photos.vectors @ query, -K)[-K] for query in queries.vectors]
    return np.asarray(rows, np.float32)


def _best_scores_within(photos: Photos, queries: Photos, labels: list[str]) -> Vectors:
    worst = []
    for query, label in zip(queries.vectors, labels, strict=True):
        scores = photos.vectors[photos.labels == int(label.removeprefix("label "))] @ query
        worst.append(np.partition(scores, -K)[-K] if len(scores) >= K else FEWER)
    return np.asarray(worst, np.float32)


def _point(photos: Photos, number: int) -> Point:
    uri = f"file:///library/photos/{number}.jpg"
    now = "2026-01-01T00:00:00+00:00"
    payload = Payload(uri, f"label {photos.labels[number]}", f"{number:064x}", 640, 480, 50_000, now, now)
    return Point(photo_id(uri), photos.vectors[number], payload)


@contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000, help="how many photos")
    parser.add_argument("--queries", type=int, default=200, help="how many searches of each kind")
    parser.add_argument("--folder", type=Path, help="where the index is kept; by default it is built again")
    parser.add_argument("--most-brute", type=int, default=100_000, help="compare with scikit-learn up to this many")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
