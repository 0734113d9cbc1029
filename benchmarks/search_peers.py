"""The embedded index compared with other vector search libraries: same vectors, same queries, one core.

    pip install --no-deps --require-hashes -r benchmarks/requirements.lock    # faiss, usearch; `make bench` does it
    pip install hnswlib                                             # has to be compiled
    python benchmarks/search_peers.py --points 10000 100000

Libraries that are not installed are skipped. The vectors are those of `search_at_scale.py`. Top-10 searches with one
query at a time: the embedded index including payloads; scikit-learn's brute force, as in the notebooks; faiss, flat and
HNSW; hnswlib; usearch; qdrant-client's local mode; and a NumPy dot product with `argpartition`, the lower bound of
exhaustive search.

Each library has its own process, pinned to the same core, so memory can be attributed and all use one thread. Recall@10
against exact scores comes first: every HNSW library (16 neighbours per point, 200 candidates during construction)
searches with the fewest of 16, 32, …, 1024 candidates that reach 0.99; the embedded index uses its own settings. Then
the libraries alternate. Times are the median over turns of each turn's median, with the fastest and slowest turn;
memory is the growth of the process.
"""

import argparse
import gc
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from search_at_scale import DIMENSION, K, Photos, Vectors, clustered, fill

CONNECTIONS, CANDIDATES_IN_BUILD = 16, 200
CANDIDATES = tuple(2**power for power in range(4, 11))
ENOUGH_RECALL = 0.99
TIE = 1e-5
OURS = "embedded index"
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}


@dataclass(frozen=True)
class Peer:
    """A library to compare with.

    Attributes:
        search: returns the positions of a query's ten nearest vectors.
        set_candidates: sets the number of candidates of a search, if the library has that parameter.
    """

    search: Callable[[Vectors], Any]
    set_candidates: Callable[[int], None] | None = None


def main() -> None:
    """Measure each size and print the result."""
    arguments = _arguments()
    results = [compare(points, arguments) for points in arguments.points]
    if arguments.json:
        print(json.dumps({f"{result['points']}_points": result for result in results}))
        return
    for result in results:
        print(
            f"\n{result['points']} vectors, {result['queries']} queries; not installed: {result['left_out'] or 'none'}"
        )
        print(
            f"{'':20}{'× ours':>8}{'ms':>9}{'fastest–slowest':>18}{'recall@10':>11}{'cand.':>7}{'built s':>9}{'MB':>8}"
        )
        for name, of in result["peers"].items():
            spread = f"{of['fastest_ms']:.3f}–{of['slowest_ms']:.3f}"
            print(
                f"{name:20}{of['times_ours']:8.2f}{of['ms']:9.3f}{spread:>18}{of['recall_at_10']:11.4f}"
                f"{of['candidates'] or '':>7}{of['build_seconds']:9.1f}{of['megabytes']:8.0f}"
            )


def compare(points: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Build all libraries with this number of vectors, measure recall, then alternate to measure time."""
    installed = {name: build for name, (module, build) in PEERS.items() if importlib.util.find_spec(module)}
    with _shared(points, arguments.queries) as files, ExitStack() as processes:
        workers, peers = {}, {}
        for name in installed:
            if name == "qdrant-client local" and points > arguments.most_local:
                continue
            worker = processes.enter_context(ProcessPoolExecutor(1, get_context("spawn"), _take_core))
            peers[name] = worker.submit(_build, name, files).result() | worker.submit(_tune).result()
            workers[name] = worker
        turns: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(arguments.turns):
            for name, worker in workers.items():
                turns[name].append(worker.submit(_turn).result())
    ours = statistics.median(turns[OURS])
    for name, times in turns.items():
        ms = statistics.median(times)
        peers[name] |= {"times_ours": ms / ours, "ms": ms, "fastest_ms": min(times), "slowest_ms": max(times)}
    left_out = [name for name in PEERS if name not in installed]
    return {"points": points, "queries": arguments.queries, "left_out": left_out, "peers": peers}


@contextmanager
def _shared(points: int, queries: int) -> Iterator[Path]:
    """A folder with `vectors.npy`, `labels.npy`, `queries.npy` and `worst.npy`, the tenth best score of each query."""
    made = clustered(points + queries)
    vectors, searched = made.vectors[:points], made.vectors[points:]
    worst = [np.partition(vectors @ query, -K)[-K] for query in searched]
    with tempfile.TemporaryDirectory() as folder:
        for name, array in {
            "vectors": vectors,
            "labels": made.labels[:points],
            "queries": searched,
            "worst": worst,
        }.items():
            np.save(Path(folder, name), array)
        del made, vectors
        gc.collect()
        yield Path(folder)


# The functions below run in the process of a library, which keeps its index.

_peer: Peer
_files: Path


def _take_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _build(name: str, files: Path) -> dict[str, float]:
    """Build a library's index; return the seconds and the growth of memory."""
    global _peer, _files  # noqa: PLW0603 - one peer a process
    _files = files
    vectors = np.load(files / "vectors.npy", mmap_mode="r")
    vectors.max()  # loads all of it, before memory is measured
    PEERS[name][1](vectors[:1000])  # imports what it needs
    gc.collect()
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    _peer = PEERS[name][1](vectors)
    seconds = time.perf_counter() - start
    gc.collect()
    return {"build_seconds": seconds, "megabytes": (psutil.Process().memory_info().rss - before) / 1e6}


def _tune() -> dict[str, float | None]:
    """Set the smallest sufficient number of candidates; return the recall."""
    if _peer.set_candidates is None:
        return {"recall_at_10": _recall(), "candidates": None}
    for candidates in CANDIDATES:
        _peer.set_candidates(candidates)
        recall = _recall()
        if recall >= ENOUGH_RECALL:
            break
    return {"recall_at_10": recall, "candidates": candidates}


def _recall() -> float:
    vectors, worst = np.load(_files / "vectors.npy", mmap_mode="r"), np.load(_files / "worst.npy")
    found = [
        vectors[np.asarray(_peer.search(query))[:K]] @ query >= score - TIE
        for query, score in zip(np.load(_files / "queries.npy"), worst, strict=True)
    ]
    return float(np.mean(found))


def _turn() -> float:
    """Median milliseconds of one query."""
    took = []
    for query in np.load(_files / "queries.npy"):
        start = time.perf_counter()
        _peer.search(query)
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def _embedded(vectors: Vectors) -> Peer:
    from retrieval.index.embedded import EmbeddedStore  # noqa: PLC0415 - each process imports its own peer

    index = EmbeddedStore(Path(tempfile.mkdtemp(dir=_files))).open("clustered", DIMENSION)
    fill(index, Photos(vectors, np.load(_files / "labels.npy")))
    return Peer(lambda query: [int(Path(hit.payload.uri).stem) for hit in index.search(query, K)])


def _scikit_learn(vectors: Vectors) -> Peer:
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415 - as above

    neighbours = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(np.array(vectors))
    return Peer(lambda query: neighbours.kneighbors(query[None], return_distance=False)[0])


def _numpy(vectors: Vectors) -> Peer:
    own = np.array(vectors)

    def search(query: Vectors) -> Any:
        scores = own @ query
        best = np.argpartition(scores, -K)[-K:]
        return best[np.argsort(-scores[best])]

    return Peer(search)


def _faiss_flat(vectors: Vectors) -> Peer:
    import faiss  # noqa: PLC0415 - as above

    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    return Peer(lambda query: index.search(query[None], K)[1][0])


def _faiss_hnsw(vectors: Vectors) -> Peer:
    import faiss  # noqa: PLC0415 - as above

    index = faiss.IndexHNSWFlat(DIMENSION, CONNECTIONS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CANDIDATES_IN_BUILD
    index.add(vectors)
    return Peer(
        lambda query: index.search(query[None], K)[1][0],
        lambda candidates: setattr(index.hnsw, "efSearch", candidates),
    )


def _hnswlib(vectors: Vectors) -> Peer:
    import hnswlib  # noqa: PLC0415 - as above

    index = hnswlib.Index("ip", DIMENSION)
    index.init_index(len(vectors), M=CONNECTIONS, ef_construction=CANDIDATES_IN_BUILD)
    index.set_num_threads(1)
    index.add_items(vectors)
    return Peer(lambda query: index.knn_query(query, K)[0][0], index.set_ef)


def _usearch(vectors: Vectors) -> Peer:
    from usearch.index import Index  # noqa: PLC0415 - as above

    index = Index(ndim=DIMENSION, metric="ip", dtype="f32", connectivity=CONNECTIONS, expansion_add=CANDIDATES_IN_BUILD)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return Peer(
        lambda query: index.search(query, K, threads=1).keys,
        lambda candidates: setattr(index, "expansion_search", candidates),
    )


def _qdrant_local(vectors: Vectors) -> Peer:
    from qdrant_client import QdrantClient, models  # noqa: PLC0415 - as above

    client = QdrantClient(":memory:")
    client.create_collection("photos", models.VectorParams(size=DIMENSION, distance=models.Distance.COSINE))
    client.upload_collection("photos", np.array(vectors), ids=range(len(vectors)))
    return Peer(lambda query: [point.id for point in client.query_points("photos", query, limit=K).points])


PEERS: dict[str, tuple[str, Callable[[Vectors], Peer]]] = {
    OURS: ("qdrant_edge", _embedded),
    "scikit-learn brute": ("sklearn", _scikit_learn),
    "numpy dot product": ("numpy", _numpy),
    "faiss flat": ("faiss", _faiss_flat),
    "faiss HNSW": ("faiss", _faiss_hnsw),
    "hnswlib": ("hnswlib", _hnswlib),
    "usearch": ("usearch", _usearch),
    "qdrant-client local": ("qdrant_client", _qdrant_local),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--points", type=int, nargs="+", default=[10_000, 100_000], help="how many vectors, each in turn"
    )
    parser.add_argument("--queries", type=int, default=200, help="how many searches in a turn")
    parser.add_argument("--turns", type=int, default=7, help="how often each peer has its turn")
    parser.add_argument("--most-local", type=int, default=100_000, help="qdrant-client's local mode up to this many")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ |= ONE_THREAD  # before the peers' processes start
    main()
