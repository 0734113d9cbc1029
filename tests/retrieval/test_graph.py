"""The graph of an embedded index: built beside the index in use, without losing writes or removals made meanwhile."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from marks import slow
from waiting import until

from retrieval.cancellation import CancellationToken
from retrieval.errors import IndexWriteFailed
from retrieval.index import Filter, Payload, Point, VectorIndex, edge
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id
from retrieval.top_k import top_k

DIMENSION = 16
POINTS = 2_000
LABELS = ("rose", "tulip", "aster", None)

# Builds a graph again and again while it writes; says each point once it is in the index. Each line is one write: two
# threads print.
BUILD_AND_WRITE = r"""
import os, pathlib, sys, threading, time
from retrieval.index import edge, embedded
from test_graph import numbered
edge.EmbeddedIndex.FULL_SCAN_POINTS = 0
index = embedded.EmbeddedStore(pathlib.Path(sys.argv[1])).open("net-1", 16)
def build():
    while True:
        index.optimize()
        os.write(1, b"built\n")
threading.Thread(target=build, daemon=True).start()
number = int(sys.argv[2])
while True:
    index.upsert([numbered(number)])
    os.write(1, f"{number}\n".encode())
    number += 1
    time.sleep(0.002)
"""


def numbered(number: int) -> Point:
    """A point near one of 20 centres, the same for the same number."""
    uri = f"file:///{number}.jpg"
    centre = np.random.default_rng(number % 20).normal(size=DIMENSION)
    vector = (centre + 0.4 * np.random.default_rng(1000 + number).normal(size=DIMENSION)).astype(np.float32)
    payload = Payload(uri, LABELS[number % len(LABELS)], "0" * 64, 1, 1, 1, "t", "t")
    return Point(photo_id(uri), vector / np.linalg.norm(vector), payload)


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return [numbered(number) for number in range(POINTS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index" / "net-1"


@pytest.fixture
def index(folder: Path, points: list[Point], monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedIndex]:
    """An index that has outgrown exact search."""
    monkeypatch.setattr(EmbeddedIndex, "FULL_SCAN_POINTS", 500)
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION) as opened:
        opened.upsert(points)
        yield opened


@contextmanager
def building(index: VectorIndex) -> Iterator[list[bool]]:
    """Builds on another thread, begun when the block begins and done when it ends; yields what it gave, once it has."""
    gave: list[bool] = []
    thread = threading.Thread(target=lambda: gave.append(index.optimize()))
    thread.start()
    until(builders)
    yield gave
    thread.join(240)


def builders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "retrieval.index.graph" in child.cmdline()]


def contents(index: VectorIndex) -> dict[object, tuple[object, list[float]]]:
    return {point.id: (point.payload, point.vector.round(5).tolist()) for point in index.scroll()}


def expected(points: list[Point]) -> dict[object, tuple[object, list[float]]]:
    return {point.id: (point.payload, point.vector.round(5).tolist()) for point in points}


def recall(index: VectorIndex, points: list[Point], labels: tuple[str, ...] = ()) -> float:
    gallery = np.stack([point.vector for point in points if not labels or point.payload.label in labels])
    queries = np.stack([numbered(number).vector for number in range(POINTS, POINTS + 50)])
    scores, _ = top_k(gallery, queries, 10)
    hits = [index.search(query, 10, Filter(labels)) for query in queries]
    found = [hit.score >= truth[-1] - 1e-6 for answer, truth in zip(hits, scores, strict=True) for hit in answer]
    return sum(found) / (10 * len(queries))


def recall_of_exact(index: VectorIndex, k: int, filter: Filter, *, by_look: bool) -> float:
    """The share of the results of exact searches that other searches find, with the same scores."""
    found = 0
    for number in range(POINTS + 100, POINTS + 120):
        query = numbered(number).vector
        if by_look:
            query[:-6] *= 0.1
            query /= np.linalg.norm(query)
        exact = {hit.id: hit.score for hit in index.search(query, k, filter, exact=True)}
        hits = {hit.id: hit.score for hit in index.search(query, k, filter, by_look=by_look)}
        assert len(hits) == k
        found += len(exact.keys() & hits.keys())
        assert all(hits[photo] == pytest.approx(exact[photo], abs=1e-6) for photo in exact.keys() & hits.keys())
    return found / (20 * k)


def test_few_points_need_no_graph(index: EmbeddedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedIndex, "FULL_SCAN_POINTS", POINTS)
    assert not index.optimize()


@pytest.mark.slow
def test_a_graph_holds_every_point_and_finds_the_neighbours(
    index: EmbeddedIndex, points: list[Point], folder: Path
) -> None:
    assert index.optimize()
    assert contents(index) == expected(points)
    assert index.labels() == {"aster": 500, "rose": 500, "tulip": 500}
    assert recall(index, points) >= 0.99
    assert len(list(folder.glob("shard*"))) == 1
    assert not index.optimize()
    index.close()
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION) as again:
        assert contents(again) == expected(points)
        assert recall(again, points) >= 0.99


def test_a_graph_keeps_few_entry_points(index: EmbeddedIndex, points: list[Point], folder: Path) -> None:
    """A search with a filter may have to check all of them, which took long when each point was one."""
    assert index.optimize()
    (graph,) = folder.rglob("graph.bin")
    assert graph.stat().st_size < 12 * len(points) * 3 / 4


@pytest.mark.parametrize("look", [0, 6])
def test_a_large_graph_has_int8_vectors_and_gives_exact_scores(
    points: list[Point], folder: Path, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmbeddedIndex, "FULL_SCAN_POINTS", 500)
    monkeypatch.setattr(edge, "FEW_POINTS", 1_000)
    monkeypatch.setattr(EmbeddedIndex, "EF", 40)
    new, gone = [numbered(number) for number in range(POINTS, POINTS + 50)], [point.id for point in points[:50]]
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION, look) as index:
        index.upsert(points)
        assert index.optimize()
        assert len(list(folder.rglob("quantized.data"))) == (2 if look else 1)
        index.upsert(new)
        index.delete(gone)
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION, look) as index:
        assert contents(index) == expected(points[50:] + new)
        for k, filter in ((10, Filter()), (200, Filter()), (10, Filter(("rose", "tulip")))):
            assert recall_of_exact(index, k, filter, by_look=look > 0) >= 0.99
        assert not index.optimize()


def test_a_graph_becomes_large_when_it_is_built_next(
    index: EmbeddedIndex, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a former version does, which has no int8 vectors, either."""
    assert index.optimize()
    assert not list(folder.rglob("quantized.data")) and not index.optimize()
    monkeypatch.setattr(edge, "FEW_POINTS", 1_000)
    assert index.optimize()
    assert list(folder.rglob("quantized.data")) and not index.optimize()


def test_a_search_within_labels_misses_none(index: EmbeddedIndex, points: list[Point]) -> None:
    """A quarter of the photos or more carry these labels, where a graph that knows none would miss some."""
    assert index.optimize()
    far = -numbered(0).vector
    for labels in (("rose",), ("rose", "tulip"), ("rose", "tulip", "aster")):
        assert recall(index, points, labels) >= 0.99, labels
        found = {hit.id for hit in index.search(far, 20, Filter(labels))}
        assert found == {hit.id for hit in index.search(far, 20, Filter(labels), exact=True)}, labels


@pytest.mark.slow
def test_searches_and_writes_go_on_while_a_graph_is_built(index: EmbeddedIndex, points: list[Point]) -> None:
    new = [numbered(number) for number in range(POINTS, POINTS + 300)]
    replaced = [replace(point, payload=replace(point.payload, label="changed")) for point in points[:50]]
    searches = 0
    with building(index) as gave:
        index.upsert(replaced)
        index.delete([point.id for point in points[50:100]])
        for point in new:
            index.upsert([point])
            assert index.search(point.vector, 1)[0].id == point.id
            searches += not gave
    assert gave == [True]
    assert searches > 0
    assert contents(index) == expected([*replaced, *points[100:], *new])
    assert index.labels()["changed"] == 50


class Watched:
    """A shard whose `scroll` blocks until `resumed` is set."""

    def __init__(self, shard: object) -> None:
        self._shard = shard
        self.reading, self.resumed = threading.Event(), threading.Event()

    def scroll(self, request: object) -> object:
        self.reading.set()
        self.resumed.wait(60)
        return self._shard.scroll(request)

    def __getattr__(self, name: str) -> object:
        return getattr(self._shard, name)


@pytest.mark.slow
def test_writes_continue_while_the_points_are_read_for_a_build(index: EmbeddedIndex, points: list[Point]) -> None:
    shard = index._shard
    watched = index._shard = Watched(shard)
    new = numbered(POINTS)
    with building(index) as gave:
        assert watched.reading.wait(30)
        index.upsert([new, replace(points[1], vector=-points[1].vector)])
        index.delete([points[0].id])
        assert not gave
        index._shard = shard
        watched.resumed.set()
    assert gave == [True]
    assert contents(index) == expected([replace(points[1], vector=-points[1].vector), *points[2:], new])


@pytest.mark.slow
def test_more_is_written_than_is_copied_at_once(
    index: EmbeddedIndex, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "WRITTEN_AT_ONCE", 100)
    new = [numbered(number) for number in range(POINTS, POINTS + 350)]
    with building(index) as gave:
        index.upsert(new)
    assert gave == [True]
    assert contents(index) == expected([*points, *new])


@pytest.mark.slow
def test_a_second_build_takes_up_what_came_later(index: EmbeddedIndex, points: list[Point]) -> None:
    assert index.optimize()
    new = [numbered(number) for number in range(POINTS, POINTS + 600)]
    index.upsert(new)
    index.delete([point.id for point in points[:10]])
    assert index.optimize()
    assert contents(index) == expected([*points[10:], *new])
    assert recall(index, [*points[10:], *new]) >= 0.99


@pytest.mark.slow
def test_replaced_points_are_taken_into_the_graph_too(index: EmbeddedIndex, points: list[Point], folder: Path) -> None:
    """Also where several processes in turn replaced them."""
    assert index.optimize()
    turned = [replace(point, vector=-point.vector) for point in points[:600]]
    index.upsert(turned[:300])
    assert not index.optimize()
    index.close()
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION) as again:
        again.upsert(turned[300:])
        assert again.optimize()
        assert not again.optimize()
        assert contents(again) == expected([*turned, *points[600:]])
        assert recall(again, [*turned, *points[600:]]) >= 0.99


@pytest.mark.slow
def test_one_graph_is_built_at_a_time(index: EmbeddedIndex) -> None:
    with building(index) as gave:
        assert not index.optimize()
    assert gave == [True]


@pytest.mark.slow
def test_a_build_can_be_given_up(index: EmbeddedIndex, points: list[Point], folder: Path) -> None:
    cancellation = CancellationToken()
    threading.Thread(target=lambda: until(builders) and cancellation.cancel()).start()
    assert not index.optimize(cancellation)
    assert builders() == []
    assert [shard.name for shard in folder.glob("shard*")] == ["shard"]
    assert contents(index) == expected(points)


@pytest.mark.slow
def test_closing_gives_a_build_up(index: EmbeddedIndex, points: list[Point], folder: Path) -> None:
    with building(index) as gave:
        index.close()
    assert gave == [False]
    assert builders() == []
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION) as again:
        assert contents(again) == expected(points)


@pytest.mark.slow
def test_a_builder_that_is_killed_is_told_and_harms_nothing(
    index: EmbeddedIndex, points: list[Point], folder: Path
) -> None:
    told: list[str] = []

    def build() -> None:
        with pytest.raises(IndexWriteFailed) as error:
            index.optimize()
        told.append(str(error.value))

    thread = threading.Thread(target=build)
    thread.start()
    until(builders)[0].kill()
    thread.join(240)
    assert "The graph of the index" in told[0]
    assert "Searches are correct without it" in told[0]
    assert [shard.name for shard in folder.glob("shard*")] == ["shard"]
    assert contents(index) == expected(points)
    assert index.optimize()


def test_without_room_no_build_is_begun(
    index: EmbeddedIndex, points: list[Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "SPARE_BYTES", 10**18)
    with pytest.raises(IndexWriteFailed, match="is full"):
        index.optimize()
    assert contents(index) == expected(points)


@pytest.mark.parametrize(("builds", "longest"), [slow(1, 0), slow(0, 3), slow(1, 3)])
def test_a_kill_at_any_moment_of_a_build_loses_nothing(
    index: EmbeddedIndex, folder: Path, builds: int, longest: float
) -> None:
    """The process that owns the index is killed in its first build or the second, or in the swap after it."""
    index.close()
    command = [sys.executable, "-c", BUILD_AND_WRITE, str(folder.parent), str(POINTS)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as owner:
        said = [owner.stdout.readline()]
        while said[-1] and said.count("built\n") < builds:
            said.append(owner.stdout.readline())
        assert said[-1], "the process ended by itself"
        threading.Timer(random.uniform(0, longest), owner.kill).start()
        said += owner.stdout
    acknowledged = [int(line) for line in said if line.endswith("\n") and line != "built\n"]
    with EmbeddedStore(folder.parent).open("net-1", DIMENSION) as after:
        there = contents(after)
    wanted = expected([numbered(number) for number in range(POINTS + len(acknowledged))])
    assert {key: there.get(key) for key in wanted} == wanted
    assert len(there) <= len(wanted) + 1  # one may be written and not yet acknowledged
    assert len(list(folder.glob("shard*"))) == 1
