import numpy as np
import pytest

from retrieval.analysis.calibration import ScoreThresholds, calibration_data, pairs_of, probability_of_vote
from retrieval.bundle_format import CalibrationData, Pairs, Part
from retrieval.parts import Parts

KIND = Parts([Part(name="kind", length=8, weight=1)])
BOTH = Parts([Part(name="kind", length=3, weight=0.5), Part(name="look", length=5, weight=0.5)])


def photos(classes: int, per_class: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around a centre for each class, float32 [photos, 8], and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, 8))
    embeddings = np.repeat(centres, per_class, axis=0) + spread * rng.normal(size=(classes * per_class, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings.astype(np.float32), np.repeat(np.arange(classes), per_class).astype(str)


def test_each_photo_is_paired_with_the_nearest_ones_of_its_label_and_of_others() -> None:
    embeddings, labels = photos(5, 6, 0.3)
    found = calibration_data(embeddings, labels, KIND)
    assert found is not None
    assert (found.calibrated_on, found.gallery) == ("validation", 30)
    assert found.photos.look is None and found.copies is None
    scores = embeddings @ embeddings.T - 3 * np.eye(30)
    for photo in range(30):
        for same in (True, False):
            expected = np.sort(scores[photo, (labels == labels[photo]) == same])[::-1][:3]
            columns = zip(found.photos.query, found.photos.same_label, found.photos.kind, strict=True)
            paired = [score for query, same_label, score in columns if (query, same_label) == (photo, same)]
            assert sorted(paired, reverse=True) == pytest.approx(expected, abs=1e-4)


def test_the_parts_of_pairs_and_copies_are_compared_by_themselves() -> None:
    rng = np.random.default_rng(0)
    embeddings = BOTH.weighted(rng.normal(size=(30, 8)).astype(np.float32), 0.5)
    copies = BOTH.weighted(embeddings + 0.05 * rng.normal(size=(30, 8)).astype(np.float32), 0.5)
    found = calibration_data(embeddings, None, BOTH, pairs_of(embeddings, copies, BOTH), of_index=True)
    assert found.calibrated_on == "index"
    assert found.photos.same_label is None
    assert found.copies.look == pytest.approx(2 * (embeddings[:, 3:] * copies[:, 3:]).sum(1), abs=1e-4)
    assert CalibrationData.model_validate_json(found.model_dump_json()) == found


def test_few_photos_are_not_measured() -> None:
    embeddings, labels = photos(1, 19, 0.3)
    assert calibration_data(embeddings, labels, KIND) is None


def test_many_photos_are_sampled() -> None:
    embeddings, labels = photos(4, 200, 0.3)
    found = calibration_data(embeddings, labels, KIND)
    assert found.gallery == 800
    assert set(found.photos.query) == set(range(500))


def test_photos_of_one_label_have_no_threshold_below_one() -> None:
    embeddings, labels = photos(1, 30, 0.3)
    assert ScoreThresholds(calibration_data(embeddings, labels, KIND), KIND).close_match(100) == 1


def test_the_threshold_rises_with_the_number_of_photos_and_few_others_reach_it() -> None:
    embeddings, labels = photos(20, 15, 0.45)
    calibrated = ScoreThresholds(calibration_data(embeddings, labels, KIND), KIND)
    queries, own = photos(20, 50, 0.45, seed=1)
    for seed, number in enumerate((5, 50, 500)):
        gallery, others = photos(20, number, 0.45, seed=2 + seed)
        threshold = calibrated.close_match(len(gallery))
        scores = np.where(own[:, None] == others, -1, queries @ gallery.T)
        assert (scores.max(axis=1) >= threshold).mean() <= 0.15
    assert calibrated.close_match(100) < calibrated.close_match(1_000) < calibrated.close_match(1_000_000) <= 1


def test_the_threshold_depends_on_the_weight_of_look() -> None:
    pairs = Pairs(kind=[0.0] * 60, look=[0.5] * 60, query=np.repeat(np.arange(20), 3).tolist(), same_label=[False] * 60)
    calibrated = ScoreThresholds(CalibrationData(calibrated_on="validation", gallery=20, photos=pairs), BOTH)
    assert calibrated.close_match(20, look=1) == pytest.approx(0.5)
    assert calibrated.close_match(20, look=0) == pytest.approx(0.0)
    assert calibrated.close_match(20) == pytest.approx(0.25)


def test_the_threshold_of_duplicates_is_between_copies_and_other_photos() -> None:
    rng = np.random.default_rng(0)
    embeddings = BOTH.weighted(rng.normal(size=(200, 8)).astype(np.float32), 0.5)
    copies = BOTH.weighted(embeddings + 0.01 * rng.normal(size=(200, 8)).astype(np.float32), 0.5)
    calibrated = ScoreThresholds(calibration_data(embeddings, None, BOTH, pairs_of(embeddings, copies, BOTH)), BOTH)
    looks = 2 * (embeddings[:, 3:] * copies[:, 3:]).sum(1)
    assert np.quantile(looks, 0.03) - 1e-3 <= calibrated.duplicates(200) <= 1


def test_a_vote_is_as_often_right_as_its_probability_says() -> None:
    """Classes that overlap, so that unanimous votes are wrong at times."""
    embeddings, labels = photos(4, 100, 0.6)
    vote = calibration_data(embeddings, labels, KIND).vote
    unseen, of_unseen = photos(4, 500, 0.6, seed=1)
    threshold = ScoreThresholds(calibration_data(embeddings, labels, KIND), KIND).close_match(len(unseen))
    scores = unseen @ unseen.T - 3 * np.eye(len(unseen))
    close = np.flatnonzero(scores.max(axis=1) >= threshold)
    voters = np.argsort(-scores[close], axis=1)[:, :10]
    shares = [np.unique(of_unseen[nearest], return_counts=True) for nearest in voters]
    right = of_unseen[close] == [names[counts.argmax()] for names, counts in shares]
    said = np.array([probability_of_vote(counts.max() / 10, vote) for _, counts in shares])
    assert len(close) > 100 and not right.all()
    assert abs(said.mean() - right.mean()) < 0.05
    assert probability_of_vote(0.5, vote) < probability_of_vote(0.8, vote) < probability_of_vote(1.0, vote) < 1


def test_votes_are_not_calibrated_without_labels() -> None:
    embeddings, _ = photos(4, 20, 0.3)
    assert calibration_data(embeddings, None, KIND).vote is None


def test_a_possible_match_scores_no_higher_than_a_close_one() -> None:
    embeddings, labels = photos(20, 15, 0.45)
    calibrated = ScoreThresholds(calibration_data(embeddings, labels, KIND), KIND)
    assert calibrated.possible_match(300) <= calibrated.close_match(300)
    pairs = calibration_data(embeddings, labels, KIND).photos
    same = np.array(pairs.kind)[pairs.same_label]
    assert calibrated.possible_match(300) == pytest.approx(np.quantile(same, 0.1))
    assert ScoreThresholds(calibration_data(embeddings, None, KIND), KIND).possible_match(300) is None
