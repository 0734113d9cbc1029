import numpy as np
import pytest

from trainer.evaluation import evaluate_embeddings


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
    assert evaluation.per_class["a"]["mrr"] == pytest.approx(0.75)


def test_a_photo_without_another_of_its_class_asks_nothing() -> None:
    evaluation = evaluate_embeddings(on_circle(0, 10, 90), np.array(["a", "a", "b"]))
    assert evaluation.queries == 2
    assert set(evaluation.per_class) == {"a"}
    assert evaluation.overall["recall_at_1"] == 1
