import numpy as np
import pytest

from retrieval.analysis.calibration import calibrate
from retrieval.bundle_format import Calibration


def on_circle(angles: list[float]) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_quantiles_are_those_of_the_best_scores() -> None:
    # Each class lies on an arc, a photo every 0.01 rad; the arcs are 1 rad apart.
    angles = [*np.arange(12) * 0.01, *(1.11 + np.arange(12) * 0.01)]
    found = calibrate(on_circle(angles), np.repeat(["a", "b"], 12))
    assert found is not None
    assert found.queries == 24
    assert found.same_label == pytest.approx([np.cos(0.01)] * 21, abs=1e-5)
    assert found.other_label[-1] == pytest.approx(np.cos(1.0), abs=1e-5)
    assert found.other_label[0] == pytest.approx(np.cos(1.11), abs=1e-5)
    assert np.cos(1.0) < found.close_match < np.cos(0.01)


def test_above_the_boundary_the_same_label_is_likelier_and_below_it_another() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 16))
    embeddings = np.repeat(centres, 10, axis=0) + 0.9 * rng.normal(size=(400, 16))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    labels = np.repeat(np.arange(40), 10).astype(str)
    found = calibrate(embeddings, labels)
    scores = embeddings @ embeddings.T - 2 * np.eye(400)
    same = np.where(labels[:, None] == labels, scores, -1).max(axis=1)
    other = np.where(labels[:, None] != labels, scores, -1).max(axis=1)
    assert (same > found.close_match).sum() > 2 * (other > found.close_match).sum()
    assert (other < found.close_match).sum() > 2 * (same < found.close_match).sum()
    assert found.same_label[10] == pytest.approx(np.median(same))


def test_scores_that_tell_nothing_have_no_boundary() -> None:
    found = calibrate(np.zeros((30, 4), np.float32), np.repeat(["a", "b"], 15))
    assert found is not None
    assert found.close_match is None
    assert Calibration.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("labels", [["a", "b"] * 5, ["a"] * 30, [str(number) for number in range(30)]])
def test_too_few_photos_are_not_measured(labels: list[str]) -> None:
    assert calibrate(on_circle(list(np.arange(len(labels)) * 0.1)), np.array(labels)) is None


def test_many_photos_are_measured_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(50, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = rng.integers(0, 3, 50).astype(str)
    whole = calibrate(embeddings, labels)
    monkeypatch.setattr("retrieval.top_k.ENTRIES_PER_BATCH", 7)
    parts = calibrate(embeddings, labels)
    assert parts.same_label == pytest.approx(whole.same_label, abs=1e-6)
    assert parts.other_label == pytest.approx(whole.other_label, abs=1e-6)
