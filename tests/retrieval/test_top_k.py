"""Exact top-k against every pair's cosine similarity in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval import top_k as module
from retrieval.top_k import top_k, top_k_of_each


def unit(seed: int, count: int, dimension: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def cosines(gallery: np.ndarray, queries: np.ndarray) -> np.ndarray:
    return queries.astype(np.float64) @ gallery.astype(np.float64).T


def test_the_most_similar_come_first() -> None:
    gallery, queries = unit(0, 300), unit(1, 20)
    scores, positions = top_k(gallery, queries, 7)
    exact = cosines(gallery, queries)
    np.testing.assert_array_equal(positions, np.argsort(-exact, axis=1)[:, :7])
    np.testing.assert_allclose(scores, np.take_along_axis(exact, positions, axis=1), atol=1e-6)
    assert top_k(gallery, queries, 1000)[1].shape == (20, 300)


@pytest.fixture(params=[None, 1, 50], ids=["one batch", "a batch per query", "some batches"])
def entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(module, "ENTRIES_PER_BATCH", request.param)


@pytest.mark.usefixtures("entries")
def test_of_each_photo_the_others_are_found() -> None:
    gallery = unit(0, 60)
    exact = cosines(gallery, gallery) - 3 * np.eye(60)
    scores, positions = top_k_of_each(gallery, 5)
    np.testing.assert_array_equal(positions, np.argsort(-exact, axis=1)[:, :5])
    np.testing.assert_allclose(scores, np.take_along_axis(exact, positions, axis=1), atol=1e-6)
    chosen = np.array([7, 3, 59])
    for of_all, of_chosen in zip((scores, positions), top_k_of_each(gallery, 5, queries=chosen), strict=True):
        np.testing.assert_allclose(of_chosen, of_all[chosen], atol=1e-12)


@pytest.mark.usefixtures("entries")
def test_a_group_is_excluded_and_what_is_missing_is_marked() -> None:
    gallery = unit(0, 60)
    groups = np.array(["a"] * 50 + ["b"] * 8 + ["c"] * 2)
    exact = np.where(groups[:, None] == groups, -np.inf, cosines(gallery, gallery))
    scores, positions = top_k_of_each(gallery, 12, groups=groups)
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :12]
    best = np.take_along_axis(exact, expected, axis=1)
    np.testing.assert_array_equal(positions, np.where(np.isfinite(best), expected, -1))
    np.testing.assert_allclose(scores, best, atol=1e-6)
    assert (positions[:50, 10:] == -1).all()


@settings(max_examples=25, deadline=None)
@given(copies=st.integers(2, 30), k=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_photo_is_never_its_own_neighbour_however_many_copies_it_has(copies: int, k: int, seed: int) -> None:
    gallery = np.concatenate([np.repeat(unit(seed, 1), copies, axis=0), unit(seed + 1, 5)])
    scores, positions = top_k_of_each(gallery, k)
    assert (positions != np.arange(len(gallery))[:, None]).all()
    assert positions.shape[1] == min(k, len(gallery) - 1)
    np.testing.assert_allclose(scores[:copies, : min(k, copies - 1)], 1, atol=1e-6)


def test_one_photo_has_no_neighbour() -> None:
    for gallery, queries in ((unit(0, 1), None), (unit(0, 9), np.empty(0, np.int64))):
        scores, positions = top_k_of_each(gallery, 3, queries=queries)
        assert scores.shape == positions.shape
        assert scores.size == 0
