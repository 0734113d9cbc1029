import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from trainer.losses import SoftmaxObjective, TripletObjective, triplet_loss
from trainer.recipes.components import SoftmaxLoss, TripletLoss

LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 3]


def unit_vectors(seed: int, count: int, dimension: int) -> npt.NDArray[np.float32]:
    embeddings = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    unit: npt.NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit


def by_hand(labels: list[int], embeddings: npt.NDArray[np.float32], margin: float) -> float:
    """Semi-hard triplets listed one by one."""
    distance = np.linalg.norm(embeddings[:, None] - embeddings[None, :], axis=2)
    losses = []
    for anchor, label in enumerate(labels):
        negatives = [distance[anchor, other] for other in range(len(labels)) if labels[other] != label]
        for positive in range(len(labels)):
            if positive != anchor and labels[positive] == label:
                farther = [negative for negative in negatives if negative > distance[anchor, positive]]
                negative = min(farther) if farther else max(negatives)
                losses.append(max(0.0, distance[anchor, positive] - negative + margin))
    return float(np.mean(losses))


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_that_of_the_listed_triplets(seed: int, margin: float) -> None:
    embeddings = unit_vectors(seed, 9, 4)
    loss = triplet_loss(tf.constant(LABELS), tf.constant(embeddings), margin)
    assert float(loss) == pytest.approx(by_hand(LABELS, embeddings, margin), rel=1e-4)


@pytest.mark.parametrize("margin", [0.2, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_hard_loss_is_that_of_the_listed_triplets(seed: int, margin: float) -> None:
    embeddings = unit_vectors(seed, 9, 4)
    losses = []
    for anchor, label in enumerate(LABELS):
        distances = [(other, float(np.linalg.norm(row - embeddings[anchor]))) for other, row in enumerate(embeddings)]
        positive = max(distance for other, distance in distances if LABELS[other] == label)
        negative = min(distance for other, distance in distances if LABELS[other] != label)
        losses.append(max(0.0, positive - negative + margin))
    loss = triplet_loss(tf.constant(LABELS), tf.constant(embeddings), margin, "hard")
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-4)


def test_one_triplet_worked_out_on_paper() -> None:
    # Anchor and positive are 90° apart (√2), the negative is opposite the anchor (2) and 90° from the positive (√2).
    embeddings = tf.constant([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = triplet_loss(tf.constant([0, 0, 1]), embeddings, 1.0)
    # (a, p): √2 − 2 + 1 = 0.4142; (p, a): no negative is farther than √2, so the farthest: √2 − √2 + 1 = 1.
    assert float(loss) == pytest.approx((2**0.5 - 1 + 1) / 2, abs=1e-4)


@pytest.mark.parametrize("triplets", ["semihard", "hard"])
def test_a_batch_without_a_positive_pair_has_no_loss_and_no_gradient(triplets: str) -> None:
    embeddings = tf.Variable(np.eye(3, dtype=np.float32))
    with tf.GradientTape() as tape:
        loss = triplet_loss(tf.constant([0, 1, 2]), embeddings, 1.0, triplets)
    gradient = tape.gradient(loss, embeddings)
    assert float(loss) == 0
    assert gradient is None or np.isfinite(gradient).all()


@pytest.mark.parametrize("triplets", ["semihard", "hard"])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [0, 0, 0, 0]])
def test_equal_embeddings_have_a_finite_gradient(labels: list[int], triplets: str) -> None:
    embeddings = tf.Variable(np.ones((4, 3), np.float32))
    with tf.GradientTape() as tape:
        loss = triplet_loss(tf.constant(labels), embeddings, 1.0, triplets)
    assert np.isfinite(tape.gradient(loss, embeddings)).all()


def test_the_proxy_term_is_cross_entropy_over_cosines() -> None:
    embeddings = unit_vectors(0, 4, 8)
    labels = tf.constant([0, 0, 1, 2])
    how = TripletLoss(margin=0.5, proxies=2.0, temperature=0.1, label_smoothing=0.1)
    loss = TripletObjective(how, classes=3, dimension=8)
    (proxies,) = loss.trainable_variables
    directions = proxies.numpy() / np.linalg.norm(proxies.numpy(), axis=1, keepdims=True)
    logits = embeddings @ directions.T / 0.1
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.eye(3)[[0, 0, 1, 2]] * 0.9 + 0.1 / 3
    expected = float(triplet_loss(labels, tf.constant(embeddings), 0.5))
    expected += 2.0 * -(targets * log_shares).sum(axis=1).mean()
    assert float(loss(labels, tf.constant(embeddings))) == pytest.approx(expected, rel=1e-4)


def test_the_proxy_term_of_an_unknown_class_is_zero_despite_label_smoothing() -> None:
    embeddings = unit_vectors(0, 4, 8)
    loss = TripletObjective(TripletLoss(margin=0.5, proxies=2.0, temperature=0.1, label_smoothing=0.1), 3, 8)
    known, labels = tf.constant(embeddings[:3]), tf.constant([0, 0, 1, -1])
    of_known = float(loss(labels[:3], known)) - float(triplet_loss(labels[:3], known, 0.5))
    of_all = float(loss(labels, tf.constant(embeddings))) - float(triplet_loss(labels, tf.constant(embeddings), 0.5))
    assert of_all == pytest.approx(of_known * 3 / 4, rel=1e-4)


def test_the_softmax_loss_is_cross_entropy_over_the_classes_it_knows() -> None:
    embeddings = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    loss = SoftmaxObjective(SoftmaxLoss(dropout=0.5), classes=3, dimension=8)
    bias, kernel = sorted(loss.trainable_variables, key=lambda variable: len(variable.shape))
    logits = embeddings @ kernel.numpy() + bias.numpy()
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -log_shares[np.arange(4), [0, 0, 1, 2]]
    assert float(loss(tf.constant([0, 0, 1, 2]), tf.constant(embeddings))) == pytest.approx(expected.mean(), rel=1e-5)
    with_a_stranger = float(loss(tf.constant([0, 0, 1, -1]), tf.constant(embeddings)))
    assert with_a_stranger == pytest.approx(expected[:3].sum() / 4, rel=1e-5)


def test_proxies_are_initialized_with_the_means_of_their_classes() -> None:
    embeddings = unit_vectors(0, len(LABELS), 6)
    objective = TripletObjective(TripletLoss(), classes=4, dimension=6)
    objective.initialize_proxies(tf.constant(LABELS), tf.constant(embeddings))
    (proxies,) = (variable.numpy() for variable in objective.trainable_variables)
    for label, proxy in enumerate(proxies):
        middle = embeddings[np.equal(LABELS, label)].mean(axis=0)
        np.testing.assert_allclose(proxy, middle / np.linalg.norm(middle), atol=1e-6)
