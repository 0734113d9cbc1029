import numpy as np
import pytest

from retrieval.analysis.calibration import probability, thresholds_of_words
from retrieval.analysis.word_calibration import (
    CAPTIONS,
    as_words,
    calibrate_words,
    margins_of,
    most_frequent,
)
from retrieval.bundle_format import Part, WordCalibration
from retrieval.parts import Parts
from retrieval.top_k import Embeddings

LOOK = Parts([Part(name="look", length=32, weight=1)])
NAMES = [f"flower_{number}" for number in range(12)]
GAP = 6.0  # between the cones of texts and photos


class Network:
    """Texts and photos around a direction for each label, in two cones."""

    def __init__(self, noise: float = 0.6) -> None:
        self.noise = noise
        self.directions = {as_words(name): np.random.default_rng(at).normal(size=32) for at, name in enumerate(NAMES)}
        self.random = np.random.default_rng(0)

    def texts(self, texts: list[str]) -> Embeddings:
        some = np.random.default_rng(7)
        return unit([self.directions.get(text, some.normal(size=32)) + self.cone(-1) for text in texts])

    def photos(self, labels: list[str]) -> Embeddings:
        shown = [self.directions[as_words(label)] + self.noise * self.random.normal(size=32) for label in labels]
        return unit([each + self.cone(1) for each in shown])

    def cone(self, sign: int) -> np.ndarray:
        return GAP * np.eye(32)[0] * (0.2 if sign < 0 else 1)


def unit(rows: list[np.ndarray]) -> Embeddings:
    stacked = np.stack(rows)
    return (stacked / np.linalg.norm(stacked, axis=1, keepdims=True)).astype(np.float32)


def measured(labels: list[str | None], network: Network, shown: list[str] | None = None) -> WordCalibration:
    return calibrate_words(network.photos(shown or [str(label) for label in labels]), labels, network.texts)


def test_names_of_labels_separate_their_photos_from_others() -> None:
    network, labels = Network(), NAMES * 20
    found = measured(labels, network)
    assert (found.gallery, found.labelled) == (240, 240) and found.label is not None
    thresholds = thresholds_of_words(found, LOOK)
    close, possible = thresholds.close_match(240), thresholds.possible_match(240)
    assert possible is not None and possible <= close
    scores = network.photos(NAMES * 10) @ network.texts([as_words(name) for name in NAMES]).T
    is_own = np.array(NAMES * 10)[:, None] == np.array(NAMES)
    assert 0.85 <= (scores[is_own] >= possible).mean() <= 0.95
    assert (np.where(is_own, -1, scores).max(axis=0) >= close).mean() <= 0.25
    assert (scores[is_own] >= close).mean() > 0.5


def test_the_probability_of_the_nearest_name_follows_from_its_margin() -> None:
    network = Network(noise=1.6)
    found = measured(NAMES * 40, network)
    scores = network.photos(NAMES * 100) @ network.texts([as_words(name) for name in NAMES]).T
    is_right = scores.argmax(axis=1) == np.tile(np.arange(12), 100)
    said = np.array([probability(float(margin), found.label) for margin in margins_of(scores)])
    assert 0.3 < is_right.mean() < 0.95
    assert said.mean() == pytest.approx(is_right.mean(), abs=0.06)
    sure = said > 0.8
    assert is_right[sure].mean() > is_right[~sure].mean() + 0.2


@pytest.mark.parametrize(
    "labels", [[None] * 60, ["rose"] * 60, [f"{at % 6}" for at in range(60)], ["rose", "tulip"] * 9]
)
def test_captions_are_used_if_names_say_nothing(labels: list[str | None]) -> None:
    network = Network()
    shown = (NAMES * 5)[: len(labels)]
    np.random.default_rng(1).shuffle(shown)
    found = measured(labels, network, shown)
    assert found.label is None and found.pairs.same_label is None and found.gallery == len(labels)
    assert set(found.pairs.query) == set(range(len(CAPTIONS)))
    thresholds = thresholds_of_words(found, LOOK)
    assert thresholds.possible_match(60) is None
    best = (network.photos(shown) @ network.texts(list(CAPTIONS)).T).max(axis=0)
    assert 0.02 <= (best >= thresholds.close_match(len(labels))).mean() <= 0.25


def test_names_are_the_most_frequent_labels_as_words() -> None:
    assert as_words("red_tulip") == "red tulip" and as_words(" oak-tree ") == "oak tree" and as_words("__") == "__"
    assert most_frequent({"b": 1, "a": 1, "c": 3}) == ["c", "a", "b"]
    assert len(most_frequent({str(number): 1 for number in range(300)})) == 100
