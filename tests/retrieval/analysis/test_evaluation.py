import json

import numpy as np
import pytest
from scipy import stats

from retrieval.analysis.evaluation import Evaluation, evaluate_embeddings
from retrieval.analysis.roles import Roles
from retrieval.metrics import METRICS


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


def test_the_interval_of_a_proportion_is_wilsons() -> None:
    def of(values: list[float], metric: str = "recall_at_1") -> tuple[float, float]:
        return Evaluation(np.full(len(values), "a"), {metric: np.array(values)}, np.arange(len(values))).intervals()[
            metric
        ]

    for values in ([1.0] * 20, [0.0] * 20, [1.0] * 7 + [0.0] * 4, [1.0]):
        expected = stats.binomtest(int(sum(values)), len(values)).proportion_ci(method="wilson")
        assert of(values) == pytest.approx((expected.low, expected.high))
    assert of([1.0] * 20) == pytest.approx((0.839, 1), abs=1e-3)
    assert of([1.0] * 20, "mrr") == (1, 1)


def test_the_metrics_as_json() -> None:
    evaluation = evaluate_embeddings(on_circle(0, 10, 14, 60), np.array(["a", "a", "b", "b"]))
    metrics = evaluation.metrics().model_dump(mode="json")
    assert set(metrics) == {*METRICS, "queries", "intervals", "per_class"}
    assert metrics["intervals"] == {name: list(interval) for name, interval in evaluation.intervals().items()}
    assert metrics["per_class"]["b"]["queries"] == 2
    low, high = metrics["per_class"]["b"]["intervals"]["mrr"]
    assert low == pytest.approx(1 / 3)
    assert high == pytest.approx(1)
    assert json.loads(json.dumps(metrics))["mrr"] == evaluation.overall["mrr"]


def test_without_queries_the_metrics_are_zero() -> None:
    metrics = evaluate_embeddings(on_circle(0, 90), np.array(["a", "b"])).metrics()
    assert metrics.queries == 0
    assert metrics.recall_at_1 == 0
    assert metrics.intervals["map_at_r"] == (0, 0)
    assert metrics.per_class == {}


def test_a_first_hit_far_down_the_ranking_counts_for_mrr() -> None:
    # The photo at 0° finds the 30 of the other class, a degree apart, before the one at 90°.
    angles = [0, 90, *range(1, 31)]
    evaluation = evaluate_embeddings(on_circle(*angles), np.array(["a"] * 2 + ["b"] * 30))
    assert evaluation.values["mrr"][0] == pytest.approx(1 / 31)
    assert evaluation.values["mrr"][1] == pytest.approx(1 / 31)


def test_a_first_hit_far_down_is_counted_within_the_gallery_and_other_groups() -> None:
    # As above, but the photo at 1° is of the query's group, and the one at 2° is not in the gallery.
    groups, gallery = np.arange(32), np.delete(np.arange(32), 3)
    groups[2] = 0
    roles = Roles(queries=np.array([0]), gallery=gallery, groups=groups)
    evaluation = evaluate_embeddings(on_circle(0, 90, *range(1, 31)), np.array(["a"] * 2 + ["b"] * 30), roles=roles)
    assert evaluation.values["mrr"].tolist() == [pytest.approx(1 / 29)]


def test_chosen_queries_and_metrics_have_the_values_of_all() -> None:
    embeddings, labels = on_circle(*range(0, 300, 7)), np.array([str(number % 3) for number in range(43)])
    whole = evaluate_embeddings(embeddings, labels)
    some = evaluate_embeddings(embeddings, labels, roles=Roles(np.array([30, 2, 9])), metrics=["map_at_r"])
    assert list(some.values) == ["map_at_r"]
    assert some.labels.tolist() == ["0", "2", "0"]
    np.testing.assert_array_equal(some.values["map_at_r"], whole.values["map_at_r"][[30, 2, 9]])


def test_a_query_finds_photos_of_other_groups_in_the_gallery() -> None:
    # The photo at 0° has its class at 1° (of its group), 20° (not in the gallery) and 50°; another class is at 30°.
    roles = Roles(queries=np.array([0, 4]), gallery=np.array([0, 1, 3, 4]), groups=np.array([7, 7, 1, 2, 3]))
    evaluation = evaluate_embeddings(on_circle(0, 1, 20, 30, 50), np.array(["a", "a", "a", "b", "a"]), roles=roles)
    assert evaluation.positions.tolist() == [0, 4]
    assert evaluation.values["recall_at_1"].tolist() == [0, 0]
    assert evaluation.values["mrr"].tolist() == [1 / 2, 1 / 2]
    assert evaluation.values["map_at_r"].tolist() == [0, 1 / 4]  # two photos at 0° and 1° are relevant for the second


def test_more_than_500_classes_have_no_metrics_of_their_own() -> None:
    labels = np.repeat(np.arange(501), 2).astype(str)
    metrics = evaluate_embeddings(on_circle(*np.linspace(0, 360, 1_002)), labels).metrics()
    assert (metrics.queries, metrics.per_class) == (1_002, None)
    assert metrics.intervals is not None
