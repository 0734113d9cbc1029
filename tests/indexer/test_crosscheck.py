"""The cross-check passes a sound index, forgives ties, and catches a damaged one."""

import subprocess
import sys
import uuid

import numpy as np
import pytest

from indexer.crosscheck import cross_check, load_cross_check, save_cross_check
from retrieval.bundle import Bundle
from retrieval.errors import NotFound
from retrieval.index import Hit, Payload, Point, VectorIndex, open_store
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.settings import Settings

DIMENSION = 16


def filled(index: VectorIndex, vectors: np.ndarray) -> VectorIndex:
    points = []
    for number, vector in enumerate(vectors):
        uri = f"file:///photos/{number}.jpg"
        payload = Payload(uri, None, "0" * 64, 1, 1, 1, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00")
        points.append(Point(uuid.uuid5(uuid.NAMESPACE_URL, uri), vector, payload))
    index.upsert(points)
    return index


def unit_vectors(count: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_sound_index_agrees(index: VectorIndex) -> None:
    result = cross_check(filled(index, unit_vectors(500)), sample=100, k=10)
    assert result.passed
    assert (result.queries, result.recall_at_k, result.disagreements) == (100, 1.0, [])
    assert result.max_score_error < 1e-5


def test_a_sample_larger_than_the_index_draws_every_photo(index: VectorIndex) -> None:
    result = cross_check(filled(index, unit_vectors(7)), sample=100, k=10)
    assert (result.queries, result.recall_at_k, result.passed) == (7, 1.0, True)


def test_ties_are_no_disagreement(index: VectorIndex) -> None:
    copies = np.repeat(unit_vectors(5), 40, axis=0)
    result = cross_check(filled(index, copies), sample=200, k=10)
    assert (result.recall_at_k, result.disagreements) == (1.0, [])


def test_a_photo_itself_is_no_neighbour(settings: Settings) -> None:
    """An index that finds nothing but the photo itself has found no neighbour."""

    class Selfish(EmbeddedIndex):
        def search(self, vector, k: int, filter: Filter = NO_FILTER, **options: bool) -> list[Hit]:
            return super().search(vector, 1, filter, **options)

    with opened(Selfish, settings) as index:
        result = cross_check(filled(index, unit_vectors(30)), sample=30, k=1)
        assert (result.recall_at_k, result.recall_at_100, result.passed) == (0, 0, False)
        lonely = cross_check(filled(EmbeddedStore(settings.home / "one").open("m", DIMENSION), unit_vectors(1)))
    assert (lonely.recall_at_k, lonely.recall_at_100, lonely.passed) == (1, 1, True)


def test_a_low_recall_of_deep_searches_is_a_warning(settings: Settings) -> None:
    class Shallow(EmbeddedIndex):
        def search(self, vector, k: int, filter: Filter = NO_FILTER, **options: bool) -> list[Hit]:
            return super().search(vector, min(k, 50), filter, **options)

    with opened(Shallow, settings) as index:
        result = cross_check(filled(index, unit_vectors(300)), sample=50)
    assert (result.passed, result.recall_at_k) == (True, 1)
    assert result.recall_at_100 == pytest.approx(0.49)
    assert "Recall@100 is 0.4900" in result.warning


def test_either_part_of_an_embedding_is_checked_alone(settings: Settings) -> None:
    class Blind(EmbeddedIndex):
        """An index that loses photos if look has all of the weight."""

        def search(self, vector, k: int, filter: Filter = NO_FILTER, *, by_look: bool = False) -> list[Hit]:
            return super().search(vector, 2 if by_look else k, filter, by_look=by_look)

    vectors = np.concatenate([unit_vectors(300), unit_vectors(300, seed=1)], axis=1) * np.float32(np.sqrt(0.5))
    for kind, passed in ((EmbeddedIndex, True), (Blind, False)):
        folder = settings.index_folder / kind.__name__
        with kind(EmbeddedStore(folder), folder / "m", "m", 2 * DIMENSION, DIMENSION) as index:
            result = cross_check(filled(index, vectors), sample=50)
        assert result.recall_at_k == result.by_look["0"].recall_at_k == 1
        assert result.by_look["1"].recall_at_k == (1 if passed else 0.1)
        assert result.passed == passed
        assert result.max_score_error < 1e-5


def test_a_result_of_an_older_version_can_be_read(settings: Settings) -> None:
    path = settings.home / "crosscheck" / "m.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        '{"model": "m", "queries": 5, "k": 10, "recall_at_k": 1.0, "max_score_error": 0.0, "passed": true, '
        '"checked_at": "2026-01-01T00:00:00+00:00", "disagreements": []}'
    )
    result = load_cross_check(settings, "m")
    assert (result.recall_at_100, result.by_look, result.warning) == (None, None, None)


def test_an_empty_index_has_nothing_to_check(index: VectorIndex) -> None:
    with pytest.raises(NotFound, match="holds no photos"):
        cross_check(index)


def test_a_result_is_kept_for_its_model(settings: Settings, index: VectorIndex) -> None:
    result = cross_check(filled(index, unit_vectors(20)), sample=5, k=3)
    assert load_cross_check(settings, index.model) is None
    save_cross_check(settings, result)
    assert load_cross_check(settings, index.model) == result


def test_looking_up_a_result_loads_neither_celery_nor_scikit_learn() -> None:
    code = "import sys, indexer.crosscheck; print({'celery', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def opened(kind: type[EmbeddedIndex], settings: Settings) -> EmbeddedIndex:
    return kind(EmbeddedStore(settings.index_folder), settings.index_folder / "m", "m", DIMENSION)


class Forgetful(EmbeddedIndex):
    """An index whose graph has lost every third photo: they are stored, and never found."""

    def search(self, vector, k: int, filter: Filter = NO_FILTER, **options: bool) -> list[Hit]:
        found = super().search(vector, 3 * k, filter, **options)
        return [hit for hit in found if hit.id.int % 3][:k]


def test_lost_photos_are_found_out(settings: Settings) -> None:
    with opened(Forgetful, settings) as index:
        result = cross_check(filled(index, unit_vectors(300)), sample=100, k=5)
    assert not result.passed
    assert 0.5 < result.recall_at_k < 0.8
    worst = max(result.disagreements, key=lambda disagreement: len(disagreement.missing))
    assert worst.missing
    assert worst.unexpected
    assert worst.query.startswith("file:///photos/")


class Stale(EmbeddedIndex):
    """An index that searches through vectors of long ago, and not those that it stores now."""

    def search(self, vector, k: int, filter: Filter = NO_FILTER, **options: bool) -> list[Hit]:
        return super().search(vector + 0.2 * unit_vectors(1, seed=5)[0], k)


def test_wrong_scores_are_found_out_even_where_the_order_is_right(settings: Settings) -> None:
    with opened(Stale, settings) as index:
        result = cross_check(filled(index, np.eye(DIMENSION, dtype=np.float32)), sample=16, k=1)
    assert result.recall_at_k == 1.0
    assert result.max_score_error > 1e-3
    assert not result.passed
    assert len(result.disagreements) > 0


def test_a_point_overwritten_behind_the_index_back_is_found_out(settings: Settings, bundle: Bundle) -> None:
    """The vectors that are scrolled and those that are searched differ in one photo of two hundred."""

    class Overwritten(EmbeddedIndex):
        def scroll_vectors(self, batch: int = 1000):
            for ids, vectors in super().scroll_vectors(batch):
                overwritten = [photo == photo_13 for photo in ids]
                yield ids, np.where(np.array(overwritten)[:, None], -vectors, vectors)

    photo_13 = uuid.uuid5(uuid.NAMESPACE_URL, "file:///photos/13.jpg")
    with opened(Overwritten, settings) as index:
        result = cross_check(filled(index, unit_vectors(200)), sample=200, k=10)
    assert any("file:///photos/13.jpg" in (d.query, *d.missing, *d.unexpected) for d in result.disagreements)
    assert open_store(settings).models() == ["m"]
