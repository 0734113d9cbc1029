"""Searching by photo, by indexed photo, by examples."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import make
import numpy as np
import pytest
from PIL import Image

from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadQuery, NotFound, UnreadablePhoto
from retrieval.images import Crop
from retrieval.index import Filter, Payload, Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher, SearchParameters


@pytest.fixture
def photos(library: Path) -> list[PhotoRef]:
    return list(list_photos(library))


@pytest.fixture
def searcher(bundle: Bundle, photos: list[PhotoRef], tmp_path: Path) -> Iterator[Searcher]:
    embedder = Embedder(bundle, threads=1)
    decoded = [PhotoDecoder().read_pixels(photo.path.read_bytes(), bundle.resize) for photo in photos]
    vectors = embedder.embed(np.stack([photo.pixels for photo in decoded]))
    with EmbeddedStore(tmp_path).open(bundle.model_id, bundle.dimension) as index:
        index.upsert(
            [
                Point(photo.id, vector, Payload(photo.uri, photo.label, "0", 120, 90, 1, "t", "t"))
                for photo, vector in zip(photos, vectors, strict=True)
            ]
        )
        yield Searcher(embedder, index, PhotoDecoder())


def test_an_indexed_photo_finds_itself_first_with_score_one(searcher: Searcher, photos: list[PhotoRef]) -> None:
    for photo in photos[::5]:
        answer = searcher.by_photo(photo.path.read_bytes(), SearchParameters(k=3), uri=photo.uri)
        assert (answer.results[0].id, answer.results[0].score, answer.results[0].distance) == (photo.id, 1.0, 0.0)
        assert set(answer.took_ms) == {"decode", "embed", "search"}


def test_a_photo_uses_all_threads_unless_another_one_is_being_embedded(
    searcher: Searcher, photos: list[PhotoRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (photo.path.read_bytes() for photo in photos[:2])
    embed, told = searcher.embedder.embed, []

    def watched(images: np.ndarray, *, parallel: bool) -> np.ndarray:
        told.append(parallel)
        if len(told) == 1:  # another photo comes while the first is being embedded
            searcher.embed(second)
        return embed(images, parallel=parallel)

    monkeypatch.setattr(searcher.embedder, "embed", watched)
    searcher.embed(first)
    searcher.embed(first)
    assert told == [True, False, True]


@pytest.mark.parametrize(("before", "after"), [(0, 3), (2, 0), (1, 1), (2, 2), (40, 0), (300, 0)])
def test_it_comes_before_its_exact_duplicates(
    searcher: Searcher, photos: list[PhotoRef], before: int, after: int
) -> None:
    """Whether they were indexed before it or after it."""
    photo = photos[3]
    vector, payload = searcher.index.vectors([photo.id])[photo.id], searcher.index.get([photo.id])[photo.id]
    twins = [PhotoRef(f"file:///{number}.jpg") for number in range(before + after)]
    points = [Point(twin.id, vector, Payload(twin.uri, None, "0", 1, 1, 1, "t", "t")) for twin in twins]
    searcher.index.delete([photo.id])
    for point in (*points[:before], Point(photo.id, vector, payload), *points[before:]):
        searcher.index.upsert([point])
    answer = searcher.by_photo(photo.path.read_bytes(), SearchParameters(k=3), uri=photo.uri)
    assert answer.results[0].id == photo.id
    assert [result.score for result in answer.results] == [1.0, 1.0, 1.0]
    page = searcher.by_photo(photo.path.read_bytes(), SearchParameters(k=2, offset=1), uri=photo.uri)
    assert page.results == answer.results[1:], "the order is the same on each page"


def duplicates(searcher: Searcher, photo: PhotoRef, count: int) -> list[str]:
    """Index photos with the embedding of another one; returns their URIs in order."""
    vector = searcher.index.vectors([photo.id])[photo.id]
    twins = [PhotoRef(f"file:///{number}.jpg") for number in np.random.default_rng(0).permutation(count)]
    searcher.index.upsert([Point(twin.id, vector, Payload(twin.uri, None, "0", 1, 1, 1, "t", "t")) for twin in twins])
    return sorted(twin.uri for twin in twins)


@pytest.mark.parametrize("by_upload", [True, False])
def test_pages_of_duplicates_continue_each_other(searcher: Searcher, photos: list[PhotoRef], by_upload: bool) -> None:
    photo = photos[3]
    expected = duplicates(searcher, photo, 400)
    found = []
    for offset in (*range(0, 64, 8), *range(64, 424, 60)):
        parameters = SearchParameters(k=8 if offset < 64 else 60, offset=offset)
        data = photo.path.read_bytes()
        answer = searcher.by_photo(data, parameters) if by_upload else searcher.by_id(photo.id, parameters)
        found += [result.uri for result in answer.results]
    assert found[: 400 + by_upload] == sorted([*expected, *([photo.uri] if by_upload else [])])
    assert len(found) == len(set(found)) == 423 + by_upload


def test_a_photo_that_the_filter_excludes_does_not_come_first(searcher: Searcher, photos: list[PhotoRef]) -> None:
    photo = photos[3]
    label = next(other.label for other in photos if other.label != photo.label)
    parameters = SearchParameters(k=3, filter=Filter((label,)))
    answer = searcher.by_photo(photo.path.read_bytes(), parameters, uri=photo.uri)
    assert photo.id not in {result.id for result in answer.results}


def test_the_nearest_photos_share_the_colour_and_the_label_is_predicted(searcher: Searcher) -> None:
    answer = searcher.by_photo(make.encoded(make.photo("blue", seed=99)), SearchParameters(k=5))
    assert [result.label for result in answer.results] == ["blue"] * 5
    assert answer.predicted_label.label == "blue"
    assert 0.5 < answer.predicted_label.confidence <= 1
    scores = [result.score for result in answer.results]
    assert scores == sorted(scores, reverse=True)
    for result in answer.results:
        assert result.distance == pytest.approx((2 - 2 * result.score) ** 0.5, abs=1e-5)


def test_the_predicted_label_does_not_depend_on_filter_page_or_k(searcher: Searcher) -> None:
    photo = make.encoded(make.photo("green", seed=99))
    options = [
        SearchParameters(),
        SearchParameters(k=1),
        SearchParameters(k=24),
        SearchParameters(filter=Filter(("red",))),
        SearchParameters(offset=5),
    ]
    predicted = {searcher.by_photo(photo, option).predicted_label for option in options}
    assert len(predicted) == 1
    assert predicted.pop().label == "green"


def test_a_filter_and_a_least_score_hold(searcher: Searcher) -> None:
    photo = make.encoded(make.photo("green", seed=99))
    answer = searcher.by_photo(photo, SearchParameters(k=20, filter=Filter(("red", "blue"))))
    assert {result.label for result in answer.results} == {"red", "blue"}
    scores = [result.score for result in searcher.by_photo(photo, SearchParameters(k=24)).results]
    assert len(searcher.by_photo(photo, SearchParameters(k=24, min_score=scores[7])).results) == 8


def test_a_search_from_an_indexed_photo_leaves_it_out_and_pages(searcher: Searcher, photos: list[PhotoRef]) -> None:
    photo = photos[0].id
    whole = [result.id for result in searcher.by_id(photo, SearchParameters(k=24)).results]
    assert photo not in whole
    assert len(whole) == 23
    pages = [searcher.by_id(photo, SearchParameters(k=10, offset=offset)).results for offset in (0, 10, 20)]
    assert [result.id for page in pages for result in page] == whole


def test_examples_draw_near_and_push_away(searcher: Searcher, photos: list[PhotoRef]) -> None:
    reds = [photo.id for photo in photos if photo.label == "red"]
    blues = [photo.id for photo in photos if photo.label == "blue"]
    answer = searcher.by_examples(reds[:2], blues[:2], SearchParameters(k=21))
    assert {result.id for result in answer.results}.isdisjoint(reds[:2] + blues[:2])
    labels = [result.label for result in answer.results]
    assert labels[:5] == ["red"] * 5
    assert set(labels[-3:]) == {"blue"}


def test_a_part_of_a_photo_is_searched_alone(searcher: Searcher) -> None:
    pair = make.photo("red", 50).resize((240, 90))
    pair.paste(make.photo("red", 51), (0, 0))
    pair.paste(make.photo("blue", 51), (120, 0))
    answer = searcher.by_photo(make.encoded(pair), SearchParameters(k=3), crop=Crop(0.5, 0, 0.5, 1))
    assert {result.label for result in answer.results} == {"blue"}


def test_an_unknown_label_is_told(searcher: Searcher, photos: list[PhotoRef]) -> None:
    photo = make.encoded(make.photo("green", seed=99))
    for labels in (("mauve",), ("green", "mauve")):
        with pytest.raises(NotFound, match=r"the label mauve\. The most frequent labels are blue, green, red\."):
            searcher.by_photo(photo, SearchParameters(filter=Filter(labels)))
    with pytest.raises(NotFound, match="mauve"):
        searcher.by_id(photos[0].id, SearchParameters(filter=Filter(("mauve",))))


def test_labels_are_not_counted_for_a_label_further_down(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> dict[str, int]:
        raise AssertionError("of 50,000 labels that takes a second")

    monkeypatch.setattr(searcher.index, "labels", count)
    photo = make.encoded(make.photo("green", seed=99))
    assert searcher.by_photo(photo, SearchParameters(k=1, filter=Filter(("green", "red")))).results[0].label == "green"


def test_a_photo_without_an_embedding_is_told(searcher: Searcher) -> None:
    with pytest.raises(UnreadablePhoto, match="no embedding"):
        searcher.by_photo(make.encoded(Image.new("RGB", (64, 64), (128, 128, 128)), "PNG"), SearchParameters())


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 101}, {"k": 10**9}, {"k": -1}, {"offset": -1}])
def test_options_without_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadQuery):
        SearchParameters(**options)


def test_bad_queries_are_told(searcher: Searcher, photos: list[PhotoRef]) -> None:
    with pytest.raises(UnreadablePhoto):
        searcher.by_photo(b"no photo", SearchParameters())
    with pytest.raises(NotFound):
        searcher.by_id(uuid.uuid4(), SearchParameters())
    with pytest.raises(BadQuery, match="at least one positive"):
        searcher.by_examples([], [photos[0].id], SearchParameters())
