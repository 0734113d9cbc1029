"""The metrics against examples worked by hand, and against trec_eval."""

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from retrieval.ranking_metrics import map_at_r, precision_at_k, r_precision, recall_at_k, reciprocal_rank

# Two queries, five neighbours each, nearest first. The first has 3 relevant photos in the gallery, the second 2.
RELEVANT = np.array([[True, False, True, False, True], [False, False, True, True, False]])
TOTAL = np.array([3, 2])


def test_recall_at_k_asks_for_one_relevant_neighbour() -> None:
    assert recall_at_k(RELEVANT, 1).tolist() == [1, 0]
    assert recall_at_k(RELEVANT, 2).tolist() == [1, 0]
    assert recall_at_k(RELEVANT, 3).tolist() == [1, 1]


def test_precision_at_k_is_the_share_of_relevant_neighbours() -> None:
    assert precision_at_k(RELEVANT, 2).tolist() == [0.5, 0]
    assert precision_at_k(RELEVANT, 5).tolist() == [0.6, 0.4]


def test_r_precision_looks_at_the_first_r() -> None:
    assert r_precision(RELEVANT, TOTAL).tolist() == [2 / 3, 0]


def test_map_at_r_by_hand() -> None:
    # query 1, R = 3: hits at ranks 1 and 3 with precisions 1/1 and 2/3 → (1 + 2/3) / 3; query 2, R = 2: no hit
    assert map_at_r(RELEVANT, TOTAL) == pytest.approx([(1 + 2 / 3) / 3, 0])


def test_map_at_r_of_a_perfect_ranking_is_one_and_needs_no_order_beyond_r() -> None:
    assert map_at_r(np.array([[True, True, False, False]]), np.array([2])).tolist() == [1]


def test_reciprocal_rank_is_that_of_the_first_hit() -> None:
    assert reciprocal_rank(RELEVANT).tolist() == [1, 1 / 3]
    assert reciprocal_rank(np.zeros((2, 4), bool)).tolist() == [0, 0]
    assert reciprocal_rank(np.zeros((2, 0), bool)).tolist() == [0, 0]


def test_a_query_without_relevant_photos_counts_zero() -> None:
    nothing = np.zeros((1, 3), bool)
    assert r_precision(nothing, np.array([0])).tolist() == [0]
    assert map_at_r(nothing, np.array([0])).tolist() == [0]


def test_too_shallow_a_ranking_is_an_error_not_a_figure() -> None:
    with pytest.raises(ValueError, match="depth of 5"):
        map_at_r(RELEVANT, np.array([6, 2]))


@settings(max_examples=200, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(10, 30))))
def test_agrees_with_trec_eval(relevant: np.ndarray) -> None:
    """Every metric equals trec_eval's: recall@k is its success_k, MAP@R its map_cut at R."""
    total = relevant.sum(axis=1)
    depth = relevant.shape[1]
    names = [f"d{rank:03}" for rank in range(depth)]
    judged = {f"q{row}": {n: int(hit) for n, hit in zip(names, hits, strict=True)} for row, hits in enumerate(relevant)}
    ranked = {query: {name: float(depth - rank) for rank, name in enumerate(names)} for query in judged}
    cuts = ",".join(str(cut) for cut in range(1, depth + 1))
    measures = {f"map_cut.{cuts}", "success.1,5,10", "P.5", "Rprec", "recip_rank"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(ranked)

    def column(measure: str) -> list[float]:
        return [theirs[query][measure] for query in judged]

    for k in (1, 5, 10):
        assert recall_at_k(relevant, k) == pytest.approx(column(f"success_{k}"))
    assert precision_at_k(relevant, 5) == pytest.approx(column("P_5"))
    assert r_precision(relevant, total) == pytest.approx(column("Rprec"))
    assert reciprocal_rank(relevant) == pytest.approx(column("recip_rank"))
    map_r = [theirs[f"q{row}"][f"map_cut_{r}"] if r else 0.0 for row, r in enumerate(total)]
    assert map_at_r(relevant, total) == pytest.approx(map_r)
