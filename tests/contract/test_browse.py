"""Browsing, on every engine: filtered, sorted, searched by words, and in pages."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from retrieval import browse as module
from retrieval.browse import Browsing, browse
from retrieval.errors import BadQuery
from retrieval.index import Filter, IndexStore, Payload, Point, VectorIndex
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.photo_ref import photo_id


@pytest.fixture
def filled(store: IndexStore, model: str, monkeypatch: pytest.MonkeyPatch):
    """Twelve photos of different sizes, every third one without a capture date."""
    monkeypatch.setattr(EmbeddedIndex, "INDEXED_POINTS", 0)
    points = []
    for number in range(12):
        uri, start = f"file:///{'ab'[number % 2]}/Photo%20{number}.jpg", datetime(2024, 1, 1, tzinfo=UTC)
        taken = {} if number % 3 == 0 else {"taken": (start - timedelta(days=number)).isoformat()}
        label = (None, "rose", "Tulip")[number % 3]
        payload = Payload(uri, label, "0" * 64, 4, 3, 100 + number, start.isoformat(), "", columns=dict(taken))
        points.append(Point(photo_id(uri), np.ones(4, np.float32) / 2, payload))
    with store.open(model, 4) as index:
        index.upsert(points)
        index.index_fields(INDEXED_FIELDS)
        yield index


def numbers(index: VectorIndex, **options) -> tuple[list[int], int]:
    """The numbers in the names of a page of photos, and the number of all that match."""
    found, total = browse(index, Browsing(**{"filter": Filter(), **options}))
    return [int(photo.payload.uri.partition("%20")[2].removesuffix(".jpg")) for photo in found], total


def test_photos_are_sorted_in_memory_and_by_the_index_alike(filled: VectorIndex, monkeypatch) -> None:
    def orders() -> list[tuple[list[int], int]]:
        return [
            numbers(filled, sort="bytes", offset=2, limit=3),
            numbers(filled, sort="-bytes", filter=Filter(("rose",))),
            (numbers(filled, sort="taken")[0][:8], 12),
            (numbers(filled, sort="-taken", offset=2, limit=3)[0], 12),
        ]

    expected = [([2, 3, 4], 12), ([10, 7, 4, 1], 4), ([11, 10, 8, 7, 5, 4, 2, 1], 12), ([4, 5, 7], 12)]
    assert orders() == expected
    assert set(numbers(filled, sort="taken")[0][8:]) == {0, 3, 6, 9}, "those without a date are last"
    monkeypatch.setattr(module, "SORTED_IN_MEMORY", 3)
    assert orders() == expected
    assert set(numbers(filled, sort="taken")[0][8:]) == {0, 3, 6, 9}
    for options in ({"sort": "name"}, {"sort": "-label"}, {"words": "photo"}):
        with pytest.raises(BadQuery, match="12 photos are too many"):
            numbers(filled, **options)


def test_photos_are_searched_by_words_and_paged(filled: VectorIndex) -> None:
    assert numbers(filled, words="PHOTO 1", sort="name") == ([1, 10, 11], 3)
    assert numbers(filled, words="tul", sort="-name") == ([8, 5, 2, 11], 4)
    for start, kind in ((0, 1), (4, 2), (8, 0)):
        found, _ = numbers(filled, sort="label", offset=start, limit=4)
        assert {number % 3 for number in found} == {kind}, "rose, then Tulip, then photos without a label"
    ids = [photo.id for photo in browse(filled, Browsing(Filter()))[0]]
    assert ids == sorted(ids) and len(ids) == 12
    pages, after = [], None
    while page := browse(filled, Browsing(Filter(), limit=5, after=after))[0]:
        pages += [photo.id for photo in page]
        after = pages[-1]
    assert pages == ids
    assert [photo.id for photo in browse(filled, Browsing(Filter(), offset=10))[0]] == ids[10:]


@pytest.mark.parametrize(
    "options", [{"sort": "size"}, {"sort": "--name"}, {"offset": 10_001}, {"sort": "name", "after": photo_id("a")}]
)
def test_wrong_options_are_refused(options) -> None:
    with pytest.raises(BadQuery):
        Browsing(Filter(), **options)
