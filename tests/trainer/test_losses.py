import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from trainer.losses import EmbeddingLoss, triplet_semihard_loss
from trainer.recipes import Loss


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
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(9, 4)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 3]
    loss = triplet_semihard_loss(tf.constant(labels), tf.constant(embeddings), margin)
    assert float(loss) == pytest.approx(by_hand(labels, embeddings, margin), rel=1e-4)


def test_one_triplet_worked_out_on_paper() -> None:
    # Anchor and positive are 90° apart (√2), the negative is opposite the anchor (2) and 90° from the positive (√2).
    embeddings = tf.constant([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = triplet_semihard_loss(tf.constant([0, 0, 1]), embeddings, 1.0)
    # (a, p): √2 − 2 + 1 = 0.4142; (p, a): no negative is farther than √2, so the farthest: √2 − √2 + 1 = 1.
    assert float(loss) == pytest.approx((2**0.5 - 1 + 1) / 2, abs=1e-4)


def test_a_batch_without_a_positive_pair_costs_nothing_and_teaches_nothing() -> None:
    embeddings = tf.Variable(np.eye(3, dtype=np.float32))
    with tf.GradientTape() as tape:
        loss = triplet_semihard_loss(tf.constant([0, 1, 2]), embeddings, 1.0)
    gradient = tape.gradient(loss, embeddings)
    assert float(loss) == 0
    assert gradient is None or np.isfinite(gradient).all()


def test_equal_embeddings_have_a_finite_gradient() -> None:
    embeddings = tf.Variable(np.ones((4, 3), np.float32))
    with tf.GradientTape() as tape:
        loss = triplet_semihard_loss(tf.constant([0, 0, 1, 1]), embeddings, 1.0)
    assert np.isfinite(tape.gradient(loss, embeddings)).all()


def test_the_proxy_term_is_cross_entropy_over_cosines() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(4, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = tf.constant([0, 0, 1, 2])
    how = Loss(margin=0.5, proxies=2.0, temperature=0.1, label_smoothing=0.1)
    loss = EmbeddingLoss(how, classes=3, dimension=8)
    (proxies,) = loss.trainable_variables
    directions = proxies.numpy() / np.linalg.norm(proxies.numpy(), axis=1, keepdims=True)
    logits = embeddings @ directions.T / 0.1
    log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.eye(3)[[0, 0, 1, 2]] * 0.9 + 0.1 / 3
    expected = float(triplet_semihard_loss(labels, tf.constant(embeddings), 0.5))
    expected += 2.0 * -(targets * log_shares).sum(axis=1).mean()
    assert float(loss(labels, tf.constant(embeddings))) == pytest.approx(expected, rel=1e-4)
