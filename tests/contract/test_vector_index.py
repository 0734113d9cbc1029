"""What every vector index does, on every engine."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.bundle_format import CalibrationData, Pairs
from retrieval.errors import BadQuery, IndexMismatch, NotFound
from retrieval.index import Filter, IndexStore, Payload, Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id
from retrieval.top_k import top_k

DIMENSION = 12


def points(count: int, labels: tuple[str | None, ...] = ("rose", "tulip", None)) -> list[Point]:
    vectors = np.random.default_rng(0).normal(size=(count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [point(f"file:///{number}.jpg", vectors[number], labels[number % len(labels)]) for number in range(count)]


def point(uri: str, vector: np.ndarray, label: str | None = "rose") -> Point:
    payload = Payload(uri, label, "0" * 64, 640, 480, 1234, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00")
    return Point(photo_id(uri), vector, payload)


@pytest.fixture
def index(store: IndexStore, model: str):
    with store.open(model, DIMENSION) as opened:
        yield opened


def test_a_new_index_is_empty(index: VectorIndex) -> None:
    assert index.count() == 0
    assert index.labels() == {}
    assert list(index.scroll()) == []
    assert index.search(np.ones(DIMENSION, np.float32), 5) == []


def test_points_come_back_as_they_were_put(index: VectorIndex) -> None:
    stored = points(7)
    index.upsert(stored)
    assert index.get([point.id for point in stored]) == {point.id: point.payload for point in stored}
    vectors = index.vectors([point.id for point in stored])
    for point in stored:
        np.testing.assert_allclose(vectors[point.id], point.vector, atol=1e-6)


def test_payloads_and_vectors_are_read_separately(index: VectorIndex) -> None:
    assert list(index.scroll_payloads()) == []
    stored = points(7)
    index.upsert(stored)
    index.replace_payloads({stored[2].id: replace(stored[2].payload, extra={"price": [1, 2.5], "shop": "a"})})
    payloads = dict(index.scroll_payloads(3))
    assert payloads == {**{point.id: point.payload for point in stored}, stored[2].id: payloads[stored[2].id]}
    assert list(index.scroll_extra(3)) == [payload.extra for payload in payloads.values()]
    expected = {point.id: point.vector for point in stored}
    pages = list(index.scroll_vectors(3))
    assert [len(ids) for ids, _ in pages] == [3, 3, 1]
    for ids, vectors in pages:
        assert (vectors.shape, vectors.dtype) == ((len(ids), DIMENSION), np.float32)
        np.testing.assert_allclose(vectors, [expected[photo] for photo in ids], atol=1e-6)


@pytest.mark.parametrize("count", [1, 5, 17, 1000])
def test_a_sample_is_random_and_has_no_photo_twice(index: VectorIndex, count: int) -> None:
    assert index.sample(count) == {}
    stored = {point.id: point.payload for point in points(300)}
    index.upsert(points(300))
    drawn = index.sample(count)
    assert len(drawn) == min(count, 300) and drawn.items() <= stored.items()
    labelled = index.sample(count, labelled=True)
    assert len(labelled) == min(count, 200) and all(payload.label for payload in labelled.values())
    seen = set().union(*(index.sample(count) for _ in range(20)))
    assert len(seen) > len(drawn) or len(drawn) == 300


def test_the_number_of_points_is_known_without_opening_the_index(store: IndexStore, model: str) -> None:
    with store.open(model, DIMENSION) as index:
        index.upsert(points(7))
        assert store.count(model) == 7
    assert store.count(model) == 7


def test_ids_that_are_not_there_are_left_out(index: VectorIndex) -> None:
    (stored,) = points(1)
    index.upsert([stored])
    assert set(index.get([stored.id, uuid.uuid4()])) == {stored.id}
    assert set(index.vectors([uuid.uuid4()])) == set()


def test_writing_twice_changes_nothing(index: VectorIndex) -> None:
    stored = points(9)
    index.upsert(stored)
    index.upsert(stored)
    assert index.count() == 9
    assert len(list(index.scroll())) == 9


def test_a_point_is_replaced_whole(index: VectorIndex) -> None:
    first, other = points(2)
    index.upsert([first])
    index.upsert([Point(first.id, other.vector, replace(first.payload, label=None, sha256="1" * 64))])
    assert index.get([first.id])[first.id] == replace(first.payload, label=None, sha256="1" * 64)
    np.testing.assert_allclose(index.vectors([first.id])[first.id], other.vector, atol=1e-6)


def test_deleted_points_are_gone(index: VectorIndex) -> None:
    stored = points(6)
    index.upsert(stored)
    index.delete([stored[0].id, stored[3].id, uuid.uuid4()])
    assert index.count() == 4
    assert {point.id for point in index.scroll()} == {point.id for point in stored} - {stored[0].id, stored[3].id}
    assert stored[0].id not in {hit.id for hit in index.search(stored[0].vector, 6)}


def test_a_calibration_is_kept_with_the_index(store: IndexStore, model: str) -> None:
    pairs = Pairs(look=[0.25] * 3000, query=[0] * 3000)
    calibrations = [CalibrationData(calibrated_on="index", gallery=number, photos=pairs) for number in (40, 20)]
    with store.open(model, DIMENSION) as index:
        assert index.calibration() is None
        for calibration in calibrations:
            index.save_calibration(calibration)
    with store.open(model, DIMENSION) as index:
        assert index.calibration() == calibrations[-1]
        assert index.count() == 0


def test_empty_writes_are_allowed(index: VectorIndex) -> None:
    index.upsert([])
    index.delete([])
    assert index.count() == 0


def test_scroll_reads_every_point_once_for_any_batch_size(index: VectorIndex) -> None:
    stored = points(25)
    index.upsert(stored)
    for batch in (1, 7, 25, 1000):
        scrolled = list(index.scroll(batch))
        assert [point.id for point in scrolled] == sorted(point.id for point in stored)
        assert {point.id: point.payload for point in scrolled} == {point.id: point.payload for point in stored}
        as_stored = list(index.scroll_stored(batch))
        assert [photo for page in as_stored for photo in page.ids] == [point.id for point in scrolled]
        assert [one for page in as_stored for one in page.payloads] == [point.payload.as_dict() for point in scrolled]
        rows = np.concatenate([page.vectors for page in as_stored])
        assert np.array_equal(rows, np.stack([point.vector for point in scrolled]))


def test_labels_are_counted_most_frequent_first(index: VectorIndex) -> None:
    index.upsert(points(10, labels=("rose", "tulip", "rose", None, "aster")))
    assert list(index.labels().items()) == [("rose", 4), ("aster", 2), ("tulip", 2)]


@pytest.mark.parametrize("label", ["", "l'été", 'quote " and \\', "روز", "line\nbreak", "0", "😀" * 50])
def test_any_text_is_a_label(index: VectorIndex, label: str) -> None:
    stored = points(3, labels=(label, "other", None))
    index.upsert(stored)
    assert index.labels()[label] == 1
    assert [hit.payload.label for hit in index.search(stored[1].vector, 5, filter=Filter((label,)))] == [label]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), k=st.integers(1, 60))
def test_search_agrees_with_exact_neighbours(index: VectorIndex, seed: int, k: int) -> None:
    stored = points(40)
    index.upsert(stored)
    query = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    hits = index.search(query, k, exact=True)
    gallery = np.stack([point.vector for point in stored])
    scores, positions = top_k(gallery, query[None] / np.linalg.norm(query), k)
    assert [hit.id for hit in hits] == [stored[position].id for position in positions[0]]
    np.testing.assert_allclose([hit.score for hit in hits], scores[0], atol=1e-5)


def test_filter_by_labels_keeps_only_them_and_misses_none(index: VectorIndex) -> None:
    stored = points(30, labels=("rose", "tulip", "aster", None))
    index.upsert(stored)
    hits = index.search(stored[0].vector, 30, filter=Filter(("rose", "aster")))
    assert {hit.id for hit in hits} == {point.id for point in stored if point.payload.label in ("rose", "aster")}
    assert index.search(stored[0].vector, 5, filter=Filter(("no such label",))) == []


@pytest.mark.parametrize("most_scanned", [5, 1_000])
@pytest.mark.parametrize("labels", [("rose",), ("rose", "tulip")])
def test_a_filter_that_keeps_many_misses_none(
    index: VectorIndex, monkeypatch: pytest.MonkeyPatch, labels: tuple[str, ...], most_scanned: int
) -> None:
    """Wherever the query lies: among the photos with these labels, or far from all of them."""
    monkeypatch.setattr(type(index), "MOST_SCANNED", most_scanned, raising=False)
    for name in ("FULL_SCAN_POINTS", "FILTERED_SCAN_POINTS"):
        monkeypatch.setattr(type(index), name, 5, raising=False)
    monkeypatch.setattr(type(index), "EF", 12)
    stored = points(60, labels=("rose", "tulip", "aster", None))
    index.upsert(stored)
    for query in (stored[0].vector, stored[2].vector, -stored[0].vector):
        compared = index.search(query, 10, Filter(labels), exact=True)
        assert len(compared) == 10
        assert [hit.id for hit in index.search(query, 10, Filter(labels))] == [hit.id for hit in compared]


def test_optimizing_changes_no_answer(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(index), "FULL_SCAN_POINTS", 5)
    stored = points(60)
    index.upsert(stored)
    assert index.optimize() == isinstance(index, EmbeddedIndex), "a server builds its graphs by itself"
    gallery = np.stack([point.vector for point in stored])
    for point, scores, positions in zip(stored, *top_k(gallery, gallery, 10), strict=True):
        hits = index.search(point.vector, 10)
        assert [hit.id for hit in hits] == [stored[position].id for position in positions]
        np.testing.assert_allclose([hit.score for hit in hits], scores, atol=1e-5)
    assert index.count() == 60
    assert index.labels() == {"rose": 20, "tulip": 20}


def test_a_photo_finds_itself_with_score_one(index: VectorIndex) -> None:
    stored = points(20)
    index.upsert(stored)
    (hit,) = index.search(stored[5].vector, 1)
    assert hit.id == stored[5].id
    assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert hit.score <= 1.0


@pytest.mark.parametrize(
    "vector",
    [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.full(DIMENSION, np.inf), np.ones(DIMENSION + 1), np.ones(())],
    ids=["zero", "nan", "infinite", "longer", "a number"],
)
def test_a_query_without_direction_is_refused(index: VectorIndex, vector: np.ndarray) -> None:
    index.upsert(points(3))
    with pytest.raises(BadQuery):
        index.search(vector.astype(np.float32), 3)


def test_threads_may_share_an_index(index: VectorIndex) -> None:
    stored = points(200)

    def write(part: int) -> None:
        for start in range(part, 200, 40):
            index.upsert(stored[start : start + 10])

    def read(_: int) -> None:
        for point in stored[:50]:
            assert {hit.id for hit in index.search(point.vector, 5)} <= {point.id for point in stored}

    with ThreadPoolExecutor(6) as threads:
        for finished in [
            *(threads.submit(write, part) for part in (0, 10, 20, 30)),
            *map(threads.submit, [read] * 2, [0, 1]),
        ]:
            finished.result()
    assert index.count() == 200
    assert {point.id for point in index.scroll()} == {point.id for point in stored}


def test_each_model_has_an_index_of_its_own(store: IndexStore, model: str) -> None:
    with store.open(model, DIMENSION) as first, store.open(f"{model}-b", 3) as second:
        first.upsert(points(4))
        assert second.count() == 0
        assert {model, f"{model}-b"} <= set(store.models())


def test_a_model_is_opened_once_and_shared(store: IndexStore, model: str) -> None:
    """Closing one of two leaves the other open; closing both lets another store open it."""
    first, second = store.open(model, DIMENSION), store.open(model, DIMENSION)
    assert first is second
    with pytest.raises(IndexMismatch, match=rf"{DIMENSION}.*{DIMENSION + 1}"):
        store.open(model, DIMENSION + 1)
    first.upsert(points(4))
    first.close()
    assert second.count() == 4
    second.close()
    with store.open(model, DIMENSION) as again:
        assert again is not first and again.count() == 4


def test_closing_a_store_frees_what_is_open(store: IndexStore, tmp_path: Path, model: str) -> None:
    store.open(model, DIMENSION).upsert(points(4))
    store.close()
    if isinstance(store, EmbeddedStore):
        with EmbeddedStore(tmp_path / "index").open(model, DIMENSION) as index:
            assert index.count() == 4


def test_threads_open_and_close_one_index(store: IndexStore, model: str) -> None:
    def use(_: int) -> int:
        with store.open(model, DIMENSION) as index:
            return index.count()

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(use, range(100))) == {0}


def test_another_dimension_is_refused_and_loses_nothing(store: IndexStore, model: str) -> None:
    with store.open(model, DIMENSION) as index:
        index.upsert(points(4))
    with pytest.raises(IndexMismatch, match=rf"{DIMENSION}.*{DIMENSION + 1}"):
        store.open(model, DIMENSION + 1)
    with store.open(model, DIMENSION) as index:
        assert index.count() == 4


def test_the_current_model_is_swapped_and_remembered(store: IndexStore, model: str) -> None:
    for name in (model, f"{model}-b"):
        store.open(name, DIMENSION).close()
    store.activate(model)
    assert (store.current(), store.previous()) == (model, None)
    store.activate(f"{model}-b")
    assert (store.current(), store.previous()) == (f"{model}-b", model)
    store.activate(f"{model}-b")
    assert (store.current(), store.previous()) == (f"{model}-b", model)
    store.activate(model)
    assert (store.current(), store.previous()) == (model, f"{model}-b")


def test_of_two_concurrent_activations_the_former_is_the_previous_one(store: IndexStore, model: str) -> None:
    names = [model, f"{model}-b", f"{model}-c"]
    for name in names:
        store.open(name, DIMENSION).close()
    start = threading.Barrier(2)

    def activate(name: str) -> None:
        start.wait()
        store.activate(name)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            store.activate(model)
            list(threads.map(activate, names[1:]))
            assert {store.current(), store.previous()} == set(names[1:])
            before = store.current()
            list(threads.map(activate, [model, model]))
            assert (store.current(), store.previous()) == (model, before)


def test_the_first_model_is_activated_once(store: IndexStore, model: str) -> None:
    names = [model, f"{model}-b"]
    for name in names:
        store.open(name, DIMENSION).close()
    start = threading.Barrier(2)

    def activate(name: str) -> str:
        start.wait()
        return store.activate_first(name)

    with ThreadPoolExecutor(2) as threads:
        assert set(threads.map(activate, names)) == {store.current()}
    assert store.previous() is None
    assert store.activate_first(f"{model}-b") == store.current()


def test_the_current_model_is_not_removed_and_others_are(store: IndexStore, model: str) -> None:
    for name in (model, f"{model}-b"):
        store.open(name, DIMENSION).close()
    store.activate(model)
    with pytest.raises(IndexMismatch):
        store.remove(model)
    store.remove(f"{model}-b")
    assert f"{model}-b" not in store.models()
    assert model in store.models()


def test_a_removed_model_is_no_longer_the_previous_one(store: IndexStore, model: str) -> None:
    for name in (model, f"{model}-b"):
        store.open(name, DIMENSION).close()
        store.activate(name)
    store.remove(model)
    assert (store.current(), store.previous()) == (f"{model}-b", None)


def test_an_unknown_model_is_neither_activated_nor_removed(store: IndexStore, model: str) -> None:
    with pytest.raises(NotFound):
        store.activate(model)
    with pytest.raises(NotFound):
        store.remove(model)


LOOK = 5
WEIGHT = 0.5  # of the last five numbers, the part look, in the stored vectors


@pytest.fixture
def two_parts(store: IndexStore, model: str):
    with store.open(model, DIMENSION, LOOK) as opened:
        yield opened


def of_two_parts(vectors: np.ndarray, weight: float = WEIGHT) -> np.ndarray:
    """Vectors whose parts have unit length times the square roots of their weights."""
    parts = (vectors[:, :-LOOK], 1 - weight), (vectors[:, -LOOK:], weight)
    return np.hstack([np.sqrt(share) * part / np.linalg.norm(part, axis=1, keepdims=True) for part, share in parts])


@pytest.mark.parametrize("graph", [False, True], ids=["compared", "graph"])
def test_queries_with_other_weights_find_what_numpy_finds(
    two_parts: VectorIndex, monkeypatch: pytest.MonkeyPatch, graph: bool
) -> None:
    monkeypatch.setattr(type(two_parts), "FULL_SCAN_POINTS", 5 if graph else 50_000)
    vectors = of_two_parts(np.random.default_rng(0).normal(size=(60, DIMENSION)).astype(np.float32))
    stored = [replace(point, vector=vector) for point, vector in zip(points(60), vectors, strict=True)]
    two_parts.upsert(stored)
    two_parts.optimize()
    assert two_parts.look == LOOK
    queries = of_two_parts(np.random.default_rng(1).normal(size=(5, DIMENSION)))
    for query, weight in product(queries, (0.0, 0.25, 0.5, 0.75, 1.0)):
        scaled = np.hstack([query[:-LOOK] * (1 - weight) / (1 - WEIGHT), query[-LOOK:] * weight / WEIGHT])
        expected = vectors @ scaled / np.linalg.norm(scaled)
        for filter in (Filter(), Filter(("rose", "tulip"))):
            order = [place for place in np.argsort(-expected) if not filter or filter.matches(stored[place].payload)]
            hits = two_parts.search(scaled, 10, filter, by_look=weight > WEIGHT)
            assert [hit.id for hit in hits] == [stored[place].id for place in order[:10]]
            np.testing.assert_allclose([hit.score for hit in hits], expected[order[:10]], atol=1e-5)


def test_vectors_of_two_parts_come_back_whole(two_parts: VectorIndex, store: IndexStore, model: str) -> None:
    vectors = of_two_parts(np.random.default_rng(0).normal(size=(7, DIMENSION)).astype(np.float32))
    stored = [replace(point, vector=vector) for point, vector in zip(points(7), vectors, strict=True)]
    two_parts.upsert(stored)
    for found in (
        two_parts.vectors([point.id for point in stored]),
        {each.id: each.vector for each in two_parts.scroll()},
    ):
        for point in stored:
            np.testing.assert_allclose(found[point.id], point.vector, atol=1e-6)
    two_parts.close()
    with store.open(model, DIMENSION, LOOK) as again:
        assert (again.dimension, again.look, again.count()) == (DIMENSION, LOOK, 7)
    store.open(model, DIMENSION, LOOK)  # for the fixture to close


def test_an_index_of_one_part_ignores_the_graph_of_look(index: VectorIndex) -> None:
    stored = points(20)
    index.upsert(stored)
    assert index.look == 0
    assert index.search(stored[3].vector, 5, by_look=True) == index.search(stored[3].vector, 5)


def test_a_photo_is_found_by_each_of_its_names(index: VectorIndex) -> None:
    first, other = points(2)
    index.upsert([first, other])
    assert index.named(["file:///0.jpg", "file:///9.jpg"]) == {"file:///0.jpg": IndexedPhoto(first.id, first.payload)}
    moved = replace(first.payload, uri="file:///moved.jpg", also_at=("file:///link.jpg",))
    index.replace_payloads({first.id: moved, uuid.uuid4(): moved})
    assert index.get([first.id, other.id]) == {first.id: moved, other.id: other.payload}
    assert index.count() == 2
    np.testing.assert_allclose(index.vectors([first.id])[first.id], first.vector, atol=1e-6)
    found = index.named(["file:///0.jpg", "file:///1.jpg", "file:///moved.jpg", "file:///link.jpg"])
    assert {uri: photo.id for uri, photo in found.items()} == {
        "file:///1.jpg": other.id,
        "file:///moved.jpg": first.id,
        "file:///link.jpg": first.id,
    }


def test_a_photo_is_found_by_its_content(index: VectorIndex) -> None:
    stored = [replace(one, payload=replace(one.payload, sha256=f"{n % 3}" * 64)) for n, one in enumerate(points(7))]
    index.upsert(stored)
    assert index.with_content(["1" * 64, "9" * 64]) == {stored[n].id: stored[n].payload for n in (1, 4)}
    index.delete([stored[1].id])
    assert set(index.with_content(["1" * 64])) == {stored[4].id}
    index.replace_payloads({stored[4].id: replace(stored[4].payload, sha256="8" * 64)})
    assert index.with_content(["1" * 64]) == {}
    assert set(index.with_content(["8" * 64])) == {stored[4].id}
    assert index.with_content([]) == {}


def test_a_replaced_payload_loses_the_fields_that_the_new_one_lacks(index: VectorIndex) -> None:
    (stored,) = points(1)
    index.upsert([replace(stored, payload=replace(stored.payload, extra={"price": 1}, sources=("file:///a/",)))])
    index.replace_payloads({stored.id: replace(stored.payload, label=None)})
    assert index.get([stored.id]) == {stored.id: replace(stored.payload, label=None)}
    assert index.labels() == {}


def test_removed_points_count_in_nothing(store: IndexStore, model: str) -> None:
    first, other = points(2)
    with store.open(model, DIMENSION) as index:
        index.upsert([first])
        assert not index.has_removed()
        index.removed().upsert([other])
        assert index.has_removed()
        assert index.count() == store.count(model) == 1
        assert index.labels() == {"rose": 1}
        assert len(index.search(other.vector, 5)) == 1
        assert model in store.models() and len(store.models()) == 1
    with store.open(model, DIMENSION) as index:
        assert index.has_removed()
        assert list(index.removed().scroll_payloads()) == [(other.id, other.payload)]
    store.remove(model)
    with store.open(model, DIMENSION) as index:
        assert not index.has_removed()


def test_a_note_is_kept_with_the_index(store: IndexStore, model: str) -> None:
    with store.open(model, DIMENSION) as index:
        assert index.note("sources") is None
        index.save_note("sources", "first")
        index.save_note("sources", "{}")
    with store.open(model, DIMENSION) as index:
        assert index.note("sources") == "{}"
        assert index.calibration() is None
