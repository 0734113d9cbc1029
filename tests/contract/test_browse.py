"""Browsing, on every engine: filtered, sorted, searched by words, and in pages."""

import base64
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from indexer import index_ranks
from indexer.index_ranks import renew_ranks
from retrieval import browse as module
from retrieval import index_order
from retrieval.browse import Browsing, browse
from retrieval.errors import BadQuery
from retrieval.index import Filter, IndexStore, Payload, Point, VectorIndex
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.filter import NO_FILTER
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.photo_ref import file_name, photo_id
from retrieval.sort_order import Position, SortOrder


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
    page = browse(index, Browsing(**{"filter": Filter(), **options}))
    return [int(photo.payload.uri.partition("%20")[2].removesuffix(".jpg")) for photo in page.photos], page.total


def paged(index: VectorIndex, sort: str, limit: int, filter: Filter = NO_FILTER) -> list[uuid.UUID]:
    """The ids of all photos, page by page."""
    found: list[uuid.UUID] = []
    after = ""
    while True:
        page = browse(index, Browsing(filter, sort=sort, limit=limit, after=after))
        found += [photo.id for photo in page.photos]
        if page.following is None:
            return found
        assert len(page.photos) == limit
        after = page.following.text()


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
    monkeypatch.setattr(module, "FEW_PHOTOS", 3)
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
    ids = [photo.id for photo in browse(filled, Browsing(Filter())).photos]
    assert ids == sorted(ids) and len(ids) == 12
    assert paged(filled, "", 5) == ids
    assert [photo.id for photo in browse(filled, Browsing(Filter(), offset=10)).photos] == ids[10:]


@pytest.mark.parametrize(
    "options",
    [
        {"sort": "size"},
        {"sort": "--name"},
        {"offset": 10_001},
        {"after": "5"},
        {"after": str(photo_id("a")), "offset": 1},
        {"sort": "name", "after": str(photo_id("a"))},
        {"sort": "name", "after": Position.parse(str(photo_id("a")), SortOrder("")).text()},
        {"sort": "-bytes", "after": Position(SortOrder("bytes"), 5, photo_id("a")).text()},
        {"sort": "bytes", "after": Position(SortOrder("bytes"), "5", photo_id("a")).text()},
        {"sort": "taken", "after": Position(SortOrder("taken"), 5, photo_id("a")).text()},
        {"sort": "taken", "after": Position(SortOrder("taken"), "never", photo_id("a")).text()},
        {"sort": "bytes", "after": Position(SortOrder("bytes"), 10**400, photo_id("a")).text()},
        {"sort": "name", "after": Position(SortOrder("name"), "a", photo_id("a"), 1 << 60).text()},
        {"sort": "-taken", "after": base64.urlsafe_b64encode(b'["-taken","0001-01-01T00:00+14:00","",1]').decode()},
        {"sort": "name", "after": base64.urlsafe_b64encode(b'["name","a",5,null]').decode()},
        {"sort": "label", "after": "W" * 8000},
    ],
)
def test_wrong_options_are_refused(options) -> None:
    with pytest.raises(BadQuery):
        Browsing(Filter(), **options)


NAMES = ["a.jpg", "A.jpg", "b.jpg", "Straße.jpg", "STRASSE.jpg", "ä.jpg", "z.jpg", "10.jpg", "9.jpg"]
DATE = datetime(2024, 2, 29, 12, tzinfo=UTC)


def drawn(number: int, chance: random.Random) -> Point:
    """A photo with values that others have, too, or without them."""
    uri = f"file:///{number}/{chance.choice(NAMES)}"
    taken = {} if chance.random() < 0.3 else {"taken": (DATE + timedelta(days=chance.randrange(4))).isoformat()}
    label = chance.choice([None, "rose", "Rose", "tulip", "ZINNIA", "été"])
    date = (DATE + timedelta(seconds=chance.randrange(5))).isoformat()
    payload = Payload(uri, label, "0" * 64, 4, 3, chance.randrange(5), date, "", columns=dict(taken))
    return Point(photo_id(uri), np.ones(4, np.float32) / 2, payload)


def plainly_sorted(index: VectorIndex, sort: str, filter: Filter = NO_FILTER) -> list[uuid.UUID]:
    """The ids of all photos that a filter keeps, sorted by values and then by ids, those without a value last."""
    values = {
        "": lambda photo: 0,
        "name": lambda photo: file_name(photo.uri).casefold(),
        "label": lambda photo: photo.label and photo.label.casefold(),
        "bytes": lambda photo: photo.bytes,
        "modified": lambda photo: photo.modified_at,
        "taken": lambda photo: photo.columns.get("taken"),
    }
    value = values[sort.removeprefix("-")]
    photos = {id: value(photo) for id, photo in index.scroll_payloads() if filter.matches(photo)}
    with_value = sorted(id for id, found in photos.items() if found is not None)
    ordered = sorted(with_value, key=lambda id: photos[id], reverse=sort.startswith("-"))
    return ordered + sorted(photos.keys() - set(ordered))


@pytest.fixture
def large(store: IndexStore, model: str, monkeypatch: pytest.MonkeyPatch):
    """Photos in an index that counts as large: it sorts by itself, and by ranks."""
    monkeypatch.setattr(EmbeddedIndex, "INDEXED_POINTS", 0)
    monkeypatch.setattr(module, "FEW_PHOTOS", 0)
    monkeypatch.setattr(index_ranks, "FEWEST_PHOTOS", 0)
    chance = random.Random(1)
    with store.open(model, 4) as index:
        index.upsert([drawn(number, chance) for number in range(24)])
        index.index_fields(INDEXED_FIELDS)
        renew_ranks(index)
        yield index


def test_pages_continue_each_other_in_every_order(large: VectorIndex) -> None:
    """Also if photos without ranks are among them: indexed, or labelled anew, since a job ended."""
    chance, roses, sorts = random.Random(2), Filter(("rose", "Rose")), ("name", "-label", "bytes", "-taken")
    for sort in sorts:
        assert paged(large, sort, 7) == plainly_sorted(large, sort), sort
    large.upsert([drawn(number, chance) for number in range(24, 30)])
    some = dict(list(large.scroll_payloads())[::4])
    large.replace_payloads({id: replace(photo, label=chance.choice(["x", None])) for id, photo in some.items()})
    for sort in sorts:
        assert paged(large, sort, 4) == plainly_sorted(large, sort), sort
        assert paged(large, sort, 2, roses) == plainly_sorted(large, sort, roses), sort
    found = browse(large, Browsing(Filter(), sort="name", offset=8, limit=30))
    assert [photo.id for photo in found.photos] == plainly_sorted(large, "name")[8:] and found.following is None


def test_an_index_with_ranks_sorts_all_but_a_few_photos(large: VectorIndex, monkeypatch) -> None:
    """A page of 20,000 photos by name took a second, since all of them were read."""
    sorted_by_index: list[int] = []
    ordered = large.ordered
    monkeypatch.setattr(large, "ordered", lambda *sent, **more: sorted_by_index.append(1) or ordered(*sent, **more))
    for sort in ("name", "-bytes"):
        assert paged(large, sort, 10) == plainly_sorted(large, sort)
    assert sorted_by_index
    sorted_by_index.clear()
    monkeypatch.setattr(module, "FEW_PHOTOS", 24)
    assert paged(large, "name", 10) == plainly_sorted(large, "name")
    assert not sorted_by_index


def test_pages_continue_after_a_photo_that_is_gone_or_changed(large: VectorIndex) -> None:
    for number, sort in enumerate(("-name", "label", "taken"), 7):
        expected = plainly_sorted(large, sort)
        page = browse(large, Browsing(Filter(), sort=sort, limit=number + 1))
        last = expected[number]
        assert page.following is not None and page.photos[-1].id == last
        if number == 7:
            photo = replace(large.get([last])[last], label="tulip", uri="file:///m.jpg", columns={})
            large.replace_payloads({last: photo})
        else:
            large.delete([last])
        rest = browse(large, Browsing(Filter(), sort=sort, after=page.following.text(), limit=60)).photos
        assert [photo.id for photo in rest if photo.id != last] == expected[number + 1 :]


def test_photos_get_ranks_where_they_have_none(large: VectorIndex, monkeypatch) -> None:
    """Only these are written; a killed renewal is completed by the next one."""
    written: list[int] = []
    write = large.replace_payloads
    monkeypatch.setattr(large, "replace_payloads", lambda payloads: written.append(len(payloads)) or write(payloads))
    renew_ranks(large)
    assert sum(written) == 0
    chance = random.Random(3)
    large.upsert([drawn(number, chance) for number in range(24, 44)])
    renew_ranks(large)
    assert sum(written) == 20
    written.clear()
    photos = dict(large.scroll_payloads())
    write({id: replace(photo, ranks={}) for id, photo in list(photos.items())[:15]})
    renew_ranks(large)
    assert sum(written) == 15
    assert paged(large, "name", 15) == plainly_sorted(large, "name")
    assert paged(large, "-label", 15) == plainly_sorted(large, "-label")


def test_ranks_that_contradict_the_order_are_renewed(large: VectorIndex) -> None:
    photos = dict(large.scroll_payloads())
    wrong = {id: replace(photo, ranks=photo.ranks | {"name": -photo.ranks["name"]}) for id, photo in photos.items()}
    large.replace_payloads(wrong | {min(photos): replace(photos[min(photos)], ranks={})})
    renew_ranks(large)
    assert paged(large, "name", 15) == plainly_sorted(large, "name")


def test_too_many_photos_without_ranks_are_not_sorted(large: VectorIndex, monkeypatch) -> None:
    monkeypatch.setattr(index_order, "MOST_UNRANKED", 4)
    large.upsert([drawn(number, random.Random(0)) for number in range(24, 28)])
    assert len(browse(large, Browsing(Filter(), sort="name")).photos) == 28
    large.upsert([drawn(28, random.Random(0))])
    with pytest.raises(BadQuery, match="5 photos are too many to sort them by name while a job changes them"):
        browse(large, Browsing(Filter(), sort="name"))
