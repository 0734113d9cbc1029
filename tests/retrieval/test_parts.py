import numpy as np
import pytest

from retrieval.bundle_format import Part
from retrieval.errors import BadQuery
from retrieval.parts import Parts

BOTH = Parts([Part(name="kind", length=3, weight=0.6), Part(name="look", length=2, weight=0.4)])
KIND = Parts([Part(name="kind", length=5, weight=1)])


def embeddings(count: int, seed: int = 0) -> np.ndarray:
    return BOTH.weighted(np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32), 0.4)


@pytest.mark.parametrize("look", [0.0, 0.25, 0.4, 1.0, None])
def test_a_scaled_query_scores_the_weighted_sum_of_the_parts(look: float | None) -> None:
    stored, (query,) = embeddings(20), embeddings(1, seed=1)
    kind, by_look = (BOTH.one(stored, name) @ BOTH.one(query[None], name)[0] for name in ("kind", "look"))
    weight = 0.4 if look is None else look
    expected = (1 - weight) * kind + weight * by_look
    np.testing.assert_allclose(stored @ BOTH.query(query, look), expected, atol=1e-6)
    weighted = BOTH.weighted(stored, look)
    np.testing.assert_allclose(weighted @ BOTH.weighted(query[None], look)[0], expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(weighted, axis=1), 1, atol=1e-6)
    cosines = BOTH.cosines(query, stored)
    np.testing.assert_allclose(cosines["kind"], kind, atol=1e-6)
    np.testing.assert_allclose(cosines["look"], by_look, atol=1e-6)


def test_each_part_of_a_combined_query_gets_unit_length() -> None:
    first, second = embeddings(2)
    np.testing.assert_allclose(BOTH.query((first + second) / 2), BOTH.query(7 * (first + second)), atol=1e-6)


def test_an_embedding_of_one_part_is_scaled_to_unit_length() -> None:
    vector = np.float32([3, 0, 0, 0, 4])
    np.testing.assert_allclose(KIND.query(vector), [0.6, 0, 0, 0, 0.8], atol=1e-6)
    assert KIND.default_look is None
    np.testing.assert_array_equal(KIND.one(vector[None], "look"), KIND.one(vector[None], "kind"))


@pytest.mark.parametrize("look", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_0_to_1_is_an_error(look: float) -> None:
    with pytest.raises(BadQuery, match="from 0"):
        BOTH.query(np.ones(5, np.float32), look)


def test_a_weight_for_an_embedding_of_one_part_is_an_error() -> None:
    with pytest.raises(BadQuery, match="one part, kind"):
        KIND.query(np.ones(5, np.float32), 0.5)
