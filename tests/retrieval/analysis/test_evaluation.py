import json

import numpy as np
import pytest

from retrieval.analysis.evaluation import METRICS, Evaluation, evaluate_embeddings, shown_split


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_four_photos_worked_out_by_hand() -> None:
    # a a b b at 0°, 10°, 14°, 60°: 0° finds 10°; 10° finds 14° (b) before 0°; 14° finds 10° (a), 0° (a); 60° finds 14°.
    evaluation = evaluate_embeddings(on_circle(0, 10, 14, 60), np.array(["a", "a", "b", "b"]))
    assert evaluation.queries == 4
    assert evaluation.overall["recall_at_1"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert evaluation.overall["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1) / 4)
    assert evaluation.overall["map_at_r"] == pytest.approx(0.5)
    assert evaluation.overall["precision_at_5"] == pytest.approx(1 / 5)
    assert evaluation.of_class("a").overall["mrr"] == pytest.approx(0.75)


def test_a_photo_without_another_of_its_class_asks_nothing() -> None:
    evaluation = evaluate_embeddings(on_circle(0, 10, 90), np.array(["a", "a", "b"]))
    assert evaluation.queries == 2
    assert set(evaluation.labels) == {"a"}
    assert evaluation.overall["recall_at_1"] == 1


def test_the_intervals_are_those_of_a_binomial_share() -> None:
    # 300 of 400 queries find their class first: the normal approximation gives 0.75 ± 1.96·√(0.75·0.25/400).
    values = {"recall_at_1": np.repeat([1.0, 0.0], [300, 100]), "mrr": np.ones(400)}
    intervals = Evaluation(np.full(400, "a"), values, np.arange(400)).intervals()
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert intervals["recall_at_1"] == pytest.approx((0.75 - half, 0.75 + half), abs=0.01)
    assert intervals["mrr"] == (1, 1)


def test_the_figures_as_a_dictionary() -> None:
    evaluation = evaluate_embeddings(on_circle(0, 10, 14, 60), np.array(["a", "a", "b", "b"]))
    figures = evaluation.as_dict()
    assert set(METRICS) < set(figures)
    assert figures["intervals"] == evaluation.intervals()
    assert figures["per_class"]["b"]["queries"] == 2
    low, high = figures["per_class"]["b"]["intervals"]["mrr"]
    assert low == pytest.approx(1 / 3)
    assert high == pytest.approx(1)
    assert json.loads(json.dumps(figures))["mrr"] == evaluation.overall["mrr"]


def test_where_nothing_can_be_asked_the_figures_are_zero() -> None:
    figures = evaluate_embeddings(on_circle(0, 90), np.array(["a", "b"])).as_dict()
    assert figures["queries"] == 0
    assert figures["recall_at_1"] == 0
    assert figures["intervals"]["map_at_r"] == (0, 0)
    assert figures["per_class"] == {}


def test_a_test_split_in_which_nothing_can_be_asked_is_not_shown_first() -> None:
    assert shown_split({"val": {"queries": 4}, "test": {"queries": 2}}) == "test"
    assert shown_split({"val": {"queries": 4}, "test": {"queries": 0}}) == "val"
    assert shown_split({"val": {"queries": 4}}) == "val"
