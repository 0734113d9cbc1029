"""Latency and recall of the index, compared with scikit-learn's exact search.

    python benchmarks/search_at_scale.py --points 100000
    python benchmarks/search_at_scale.py --points 1000000 --folder FOLDER    # keeps the index for the next run
    python benchmarks/search_at_scale.py --points 100000 --look 160          # two parts, and weights of look in queries

The index is on the Qdrant server of `LOOKALIKE_QDRANT_URL` if that is set, and embedded otherwise.

The vectors are synthetic: 5,000 clusters of very different sizes with 200 labels, one of which more than a quarter of
all points have. Within a cluster they vary in 24 directions with a little noise, which gives an intrinsic dimension of
16 (TwoNN, Facco et al. 2017); the embeddings of 1,500 flower photos have 12. Uniform random vectors have no such
structure, and no graph index works well on them; they do not resemble embeddings of photos.

Each photo also has a number, a date and a text in typed columns, which depend on nothing else, so that a filter keeps
photos all over the space; labels are the opposite.

With `--look`, the vectors have a second part of this length with the weight 0.5. A third of it follows from the cluster
of the first part; the rest varies in 24 further directions.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
from sklearn.neighbors import NearestNeighbors

from retrieval.analysis.evaluation import LOOKS
from retrieval.bundle_format import Part
from retrieval.columns.schema import ColumnSchema
from retrieval.columns.where import parse_where
from retrieval.index import Filter, Hit, IndexStore, Payload, Point, VectorIndex, server_store
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.index.vectors import to_unit_length
from retrieval.parts import KIND, LOOK, Parts
from retrieval.photo_ref import Extra, photo_id
from retrieval.settings import load_settings

DIMENSION = 128
LABELS, CLUSTERS_PER_LABEL, IN_ONE_LABEL = 200, 25, 60
LATENT = 24
WEIGHT = 0.5  # of look in stored vectors
SHARED = 1 / 3  # of look that follows from the cluster
MODEL = "clustered"
K = 10
BATCH = 1000
PAUSE_SECONDS = 0.5
SHARES = (0.001, 0.01, 0.1, 0.27, 0.5)  # of the photos, which filters keep
COLUMN_SHARES = (0.001, 0.01, 0.1, 0.5)
SCHEMA = ColumnSchema(kinds={"price": "number", "sold": "date", "shop": "text"})
SHOPS = 1000
MINUTES = 1_000_000  # of the dates, from 2020 on
FEWER = -1.0  # the score to reach if a label has fewer than ten photos

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Photos:
    """Vectors float32 [photos, d], unit length, and the number of each one's label."""

    vectors: Vectors
    labels: npt.NDArray[np.int64]

    def __getitem__(self, chosen: slice) -> "Photos":
        """Return some of the photos."""
        return Photos(self.vectors[chosen], self.labels[chosen])


def main() -> None:
    """Measure and print the result."""
    arguments = _arguments()
    made = clustered(arguments.points + arguments.queries, arguments.look)
    photos, queries = made[: arguments.points], made[arguments.points :]
    unopened = resident_mb()
    with (
        _store(arguments.folder) as (store, folder),
        store.open(MODEL, photos.vectors.shape[1], arguments.look) as index,
    ):
        result: dict[str, object] = {"points": arguments.points, "queries": arguments.queries}
        if index.count() != arguments.points:
            result |= fill(index, photos)
        if folder is not None:
            result["index_mb"] = round(sum(file.stat().st_blocks for file in folder.rglob("*")) * 512 / 1e6)
        for query in queries.vectors:
            index.search(query, K)
        result["index_resident_mb"] = round(resident_mb() - unopened)
        if arguments.look:
            result |= measure_by_look(index, photos, queries, arguments.look)
        else:
            result |= measure(index, photos, queries)
            result |= measure_by_share(index, photos, queries)
            result |= measure_by_column(index, photos, queries)
            if arguments.points <= arguments.most_brute:
                result |= beside_brute_force(index, photos, queries)
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


def clustered(count: int, look: int = 0) -> Photos:
    """Synthetic embeddings, with a part look of this length unless it is 0; see the module."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(LABELS, DIMENSION)).astype(np.float32)
    clusters = LABELS * CLUSTERS_PER_LABEL
    centres = np.repeat(labels, CLUSTERS_PER_LABEL, 0) + 0.8 * rng.normal(size=(clusters, DIMENSION))
    sizes = rng.pareto(1.5, clusters) + 0.2
    cluster = rng.choice(clusters, count, p=sizes / sizes.sum())
    vectors = _varied(centres[cluster].astype(np.float32), 0.6, rng)
    if look:
        of_cluster = SHARED**0.5 * rng.standard_normal((clusters, look), dtype=np.float32)
        part = _varied(of_cluster[cluster], (1 - SHARED) ** 0.5, rng)
        vectors = np.concatenate([(1 - WEIGHT) ** 0.5 * vectors, WEIGHT**0.5 * part], axis=1)
    label = cluster // CLUSTERS_PER_LABEL
    return Photos(vectors, np.where(label < IN_ONE_LABEL, 0, label))


def _varied(vectors: Vectors, spread: float, rng: np.random.Generator) -> Vectors:
    """Add variation in 24 directions and a little noise to vectors, in place, and scale them to unit length."""
    length = vectors.shape[1]
    directions = np.linalg.qr(rng.normal(size=(length, LATENT)))[0].T.astype(np.float32)
    directions *= (length / LATENT) ** 0.5
    for start in range(0, len(vectors), 100_000):
        part = vectors[start : start + 100_000]
        part += spread * (rng.standard_normal((len(part), LATENT), dtype=np.float32) @ directions)
        part += 0.05 * rng.standard_normal(part.shape, dtype=np.float32)
        part[:] = to_unit_length(part)
    return vectors


def fill(index: VectorIndex, photos: Photos) -> dict[str, float]:
    """Write the points and build the graph; return the seconds of each."""
    start = time.perf_counter()
    draws = _draws(len(photos.vectors))
    for first in range(0, len(photos.vectors), BATCH):
        last = min(first + BATCH, len(photos.vectors))
        index.upsert([_point(photos, number, draws[number]) for number in range(first, last)])
    index.index_fields(INDEXED_FIELDS | SCHEMA.fields())
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
    best = _best_scores(photos.vectors, queries.vectors)
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


def measure_by_share(index: VectorIndex, photos: Photos, queries: Photos) -> dict[str, float]:
    """Milliseconds and recall@10 of searches with filters that keep about these shares of the photos.

    `inside` are queries with a label of the filter, so that their neighbours match; `outside` are the others.
    """
    result: dict[str, float] = {}
    for share in SHARES:
        chosen = _labels_of_share(photos, share)
        kept = photos.vectors[np.isin(photos.labels, chosen)]
        filter, is_inside = Filter(tuple(f"label {label}" for label in chosen)), np.isin(queries.labels, chosen)
        for place, some in (("inside", queries.vectors[is_inside]), ("outside", queries.vectors[~is_inside])):
            if len(some) == 0 or len(kept) < K:
                continue
            took, found = [], 0
            for query, least in zip(some, _best_scores(kept, some), strict=True):
                start = time.perf_counter()
                hits = index.search(query, K, filter)
                took.append((time.perf_counter() - start) * 1000)
                found += sum(hit.score >= least - 1e-5 for hit in hits)
            name = f"share_{share:g}_{place}"
            result[f"{name}_recall_at_10"] = round(found / (K * len(some)), 4)
            result[f"{name}_p50_ms"] = round(float(np.median(took)), 2)
            result[f"{name}_p95_ms"] = round(float(np.percentile(took, 95)), 2)
    return result


def measure_by_column(index: VectorIndex, photos: Photos, queries: Photos) -> dict[str, float]:
    """Milliseconds and recall@10 of searches with typed filters that keep these shares of the photos."""
    result: dict[str, float] = {}
    draws = _draws(len(photos.vectors))
    for share in COLUMN_SHARES:
        filters: dict[str, tuple[object, npt.NDArray[np.bool_]]] = {
            "number": ({"price": {"lt": share}}, draws < share),
            "date": ({"sold": {"lt": _date(share)}}, np.floor(draws * MINUTES) < share * MINUTES),
            "text": ({"shop": [_shop(draw) for draw in np.arange(0, share, 1 / SHOPS)]}, draws < share),
        }
        for kind, (where, keeps) in filters.items():
            if keeps.sum() < K:
                continue
            filter = Filter(where=parse_where(where, SCHEMA, lambda _: []))
            took, found = [], 0
            for query, least in zip(queries.vectors, _best_scores(photos.vectors[keeps], queries.vectors), strict=True):
                start = time.perf_counter()
                hits = index.search(query, K, filter)
                took.append((time.perf_counter() - start) * 1000)
                found += sum(hit.score >= least - 1e-5 for hit in hits)
            name = f"{kind}_{share:g}"
            result[f"{name}_recall_at_10"] = round(found / (K * len(queries.vectors)), 4)
            result[f"{name}_p50_ms"] = round(float(np.median(took)), 2)
            result[f"{name}_p95_ms"] = round(float(np.percentile(took, 95)), 2)
    return result


def _draws(count: int) -> npt.NDArray[np.float64]:
    """A number from 0 to 1 for each photo, from which its columns follow."""
    return np.random.default_rng(2).random(count)


def _date(draw: float) -> str:
    return (datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=int(draw * MINUTES))).isoformat()


def _shop(draw: float) -> str:
    return f"shop {int(draw * SHOPS + 1e-9)}"


def _labels_of_share(photos: Photos, share: float) -> list[int]:
    """Return labels that together have about this share of the photos; the largest label has 27 %."""
    labels, counts = np.unique(photos.labels, return_counts=True)
    wanted = share * len(photos.labels)
    chosen: list[int] = []
    for place in np.argsort(-counts):
        if counts[place] <= 1.1 * wanted:
            chosen.append(int(labels[place]))
            wanted -= counts[place]
    return chosen or [int(labels[np.argmin(counts)])]


def measure_by_look(index: VectorIndex, photos: Photos, queries: Photos, length: int) -> dict[str, float]:
    """Milliseconds and recall@10 of searches with five weights of the part look."""
    kind = photos.vectors.shape[1] - length
    parts = Parts([Part(name=KIND, length=kind, weight=1 - WEIGHT), Part(name=LOOK, length=length, weight=WEIGHT)])
    result: dict[str, float] = {}
    for look in LOOKS:
        weighted = [parts.query(query, look) for query in queries.vectors]
        best = _best_scores(photos.vectors, weighted)
        for query in weighted[:20]:
            index.search(query, K, by_look=look > WEIGHT)  # loads the files into memory
        took, found = [], 0
        for query, least in zip(weighted, best, strict=True):
            start = time.perf_counter()
            hits = index.search(query, K, by_look=look > WEIGHT)
            took.append((time.perf_counter() - start) * 1000)
            scores = photos.vectors[[_number(hit) for hit in hits]] @ query
            found += int((scores >= least - 1e-5).sum())
        result[f"look_{look:g}_recall_at_10"] = round(found / (K * len(weighted)), 4)
        result[f"look_{look:g}_p50_ms"] = round(float(np.median(took)), 2)
        result[f"look_{look:g}_p95_ms"] = round(float(np.percentile(took, 95)), 2)
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


def _best_scores(vectors: Vectors, queries: Iterable[Vectors]) -> Vectors:
    """The exact score of each query's tenth neighbour."""
    rows = [np.partition(vectors @ query, -K)[-K] for query in queries]
    return np.asarray(rows, np.float32)


def _best_scores_within(photos: Photos, queries: Photos, labels: list[str]) -> Vectors:
    worst = []
    for query, label in zip(queries.vectors, labels, strict=True):
        scores = photos.vectors[photos.labels == int(label.removeprefix("label "))] @ query
        worst.append(np.partition(scores, -K)[-K] if len(scores) >= K else FEWER)
    return np.asarray(worst, np.float32)


def _point(photos: Photos, number: int, draw: float) -> Point:
    uri = f"file:///library/photos/{number}.jpg"
    now = "2026-01-01T00:00:00+00:00"
    extra: Extra = {"price": float(draw), "sold": _date(draw), "shop": _shop(draw)}
    payload = Payload(uri, f"label {photos.labels[number]}", f"{number:064x}", 640, 480, 50_000, now, now, extra=extra)
    return Point(photo_id(uri), photos.vectors[number], SCHEMA.applied(payload))


def _number(hit: Hit) -> int:
    return int(Path(hit.payload.uri).stem)


@contextmanager
def _store(folder: Path | None) -> Iterator[tuple[IndexStore, Path | None]]:
    """The store on a server, from which the index is removed afterwards; or an embedded one, and its folder."""
    settings = load_settings()
    if settings.qdrant_url:
        with server_store(settings) as store:
            yield store, None
            store.remove(MODEL)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = folder or Path(temporary)
            with EmbeddedStore(folder) as store:
                yield store, folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000, help="how many photos")
    parser.add_argument("--queries", type=int, default=200, help="how many searches of each kind")
    parser.add_argument("--look", type=int, default=0, help="length of the part look; 0: vectors of one part")
    parser.add_argument("--folder", type=Path, help="where the index is kept; by default it is built again")
    parser.add_argument("--most-brute", type=int, default=100_000, help="compare with scikit-learn up to this many")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
