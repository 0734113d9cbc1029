"""Loss functions. This is the only module that uses TensorFlow Addons."""

import tensorflow as tf
import tensorflow_addons as tfa

from trainer.recipes.components import SoftmaxLoss, TripletLoss
from trainer.recipes.recipe import AnyLoss

TRIPLETS = {"semihard": tfa.losses.triplet_semihard_loss, "hard": tfa.losses.triplet_hard_loss}


def triplet_loss(labels: tf.Tensor, embeddings: tf.Tensor, margin: float, triplets: str = "semihard") -> tf.Tensor:
    """Compute the triplet loss of a batch with online mining, on Euclidean distances.

    `semihard` (Schroff et al., "FaceNet", 2015): for each anchor and positive, the nearest negative that is farther
    from the anchor than the positive, or the farthest negative if there is none; mean over all pairs. `hard` (Hermans
    et al., "In Defense of the Triplet Loss", 2017): for each anchor, the farthest positive (the anchor itself if it
    has none) and the nearest negative; mean over all anchors.

    Args:
        labels: int [batch].
        embeddings: float32 [batch, d], unit length.
        margin: minimum difference between the distances to the negative and to the positive.

    Returns:
        A scalar; 0 without a gradient if no two photos of the batch share a class.
    """
    same = tf.equal(labels[:, None], labels[None, :])
    pairs = tf.math.count_nonzero(same) - tf.size(labels, tf.int64)
    return tf.cond(
        pairs > 0,
        lambda: TRIPLETS[triplets](labels, embeddings, margin=margin),
        lambda: tf.zeros((), embeddings.dtype),
    )


class TripletObjective(tf.Module):  # type: ignore[misc]  # it has no types
    """Triplet loss plus a weighted cross-entropy over cosine similarities to class proxies.

    A proxy is a trainable vector per class (Movshovitz-Attias et al., "No Fuss Distance Metric Learning Using
    Proxies", 2017).
    """

    unit_length = True  # whether the loss takes embeddings of unit length

    def __init__(self, config: TripletLoss, classes: int, dimension: int) -> None:
        super().__init__()
        self._config = config
        self._classes = classes
        if config.proxies:
            self._proxies = tf.Variable(tf.keras.initializers.Orthogonal()((classes, dimension)), name="proxies")

    def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Compute the loss: labels int [batch], negative if unknown; embeddings float32 [batch, d] → a scalar.

        Photos of unknown classes only count in triplets: their cross-entropy is 0.
        """
        triplets = triplet_loss(labels, embeddings, self._config.margin, self._config.triplets)
        if not self._config.proxies:
            return triplets
        return triplets + self._config.proxies * self._classification(labels, embeddings)

    def initialize_proxies(self, labels: tf.Tensor, embeddings: tf.Tensor) -> None:
        """Set each proxy to the normalized mean of its class: labels int [photos], embeddings float32 [photos, d].

        Source: Qi, Brown, Lowe, "Low-Shot Learning with Imprinted Weights", 2018.
        """
        if self._config.proxies:
            means = tf.math.unsorted_segment_mean(embeddings, labels, self._classes)
            self._proxies.assign(tf.math.l2_normalize(means, axis=1))

    def _classification(self, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
        similarities = tf.matmul(embeddings, tf.math.l2_normalize(self._proxies, axis=1), transpose_b=True)
        losses = tf.keras.losses.categorical_crossentropy(
            tf.one_hot(labels, self._classes),
            similarities / self._config.temperature,
            from_logits=True,
            label_smoothing=self._config.label_smoothing,
        )
        return tf.reduce_mean(tf.where(labels >= 0, losses, tf.zeros_like(losses)))


class SoftmaxObjective(tf.Module):  # type: ignore[misc]  # it has no types
    """Cross-entropy of a softmax classifier on embeddings before normalization to unit length."""

    unit_length = False

    def __init__(self, config: SoftmaxLoss, classes: int, dimension: int) -> None:
        super().__init__()
        self._classes = classes
        self._dropout = tf.keras.layers.Dropout(config.dropout, dtype="float32")
        self._layer = tf.keras.layers.Dense(classes, dtype="float32", name="softmax")
        self._layer.build((None, dimension))

    def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Compute the loss of a batch; see `TripletObjective`."""
        logits = self._layer(self._dropout(embeddings, training=training))
        targets = tf.one_hot(labels, self._classes)
        return tf.reduce_mean(tf.keras.losses.categorical_crossentropy(targets, logits, from_logits=True))


Objective = TripletObjective | SoftmaxObjective


def objective(config: AnyLoss, classes: int, dimension: int) -> Objective:
    """Build the loss of a recipe for a number of classes and embeddings of length `dimension`."""
    if isinstance(config, SoftmaxLoss):
        return SoftmaxObjective(config, classes, dimension)
    return TripletObjective(config, classes, dimension)
