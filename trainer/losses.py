"""The seam to TensorFlow Addons, and the objectives that networks are trained with."""

import tensorflow as tf
import tensorflow_addons as tfa

from trainer.recipes.components import SoftmaxLoss, TripletLoss
from trainer.recipes.recipe import AnyLoss

TRIPLETS = {"semihard": tfa.losses.triplet_semihard_loss, "hard": tfa.losses.triplet_hard_loss}


def triplet_loss(labels: tf.Tensor, embeddings: tf.Tensor, margin: float, triplets: str = "semihard") -> tf.Tensor:
    """A triplet loss of TensorFlow Addons, on Euclidean distances.

    `semihard` (Schroff et al., "FaceNet", 2015): each ordered pair of photos of a class is held against the nearest
    negative that is farther away than its positive, or, where there is none, against the farthest negative; the mean
    over all pairs. `hard` (Hermans et al., "In Defense of the Triplet Loss", 2017): each photo's farthest positive is
    held against its nearest negative; the mean over all photos, where one without a positive has itself for one.

    Args:
        labels: int [batch].
        embeddings: float32 [batch, d], unit length.
        margin: how much farther away the negative shall be.
        triplets: `semihard` or `hard`.

    Returns:
        The mean; 0, without a gradient, where no two photos of the batch share a class.
    """
    same = tf.equal(labels[:, None], labels[None, :])
    pairs = tf.math.count_nonzero(same) - tf.size(labels, tf.int64)
    return tf.cond(
        pairs > 0,
        lambda: TRIPLETS[triplets](labels, embeddings, margin=margin),
        lambda: tf.zeros((), embeddings.dtype),
    )


class TripletObjective(tf.Module):  # type: ignore[misc]  # it has no types
    """Triplets, and classification by the nearest proxy: a learned direction for each class.

    Args:
        how: margin and weights.
        classes: how many.
        dimension: of the embeddings.
    """

    unit_length = True

    def __init__(self, how: TripletLoss, classes: int, dimension: int) -> None:
        super().__init__()
        self._how = how
        self._classes = classes
        if how.proxies:
            self._proxies = tf.Variable(tf.keras.initializers.Orthogonal()((classes, dimension)), name="proxies")

    def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The loss of a batch: labels int [batch], −1 where unknown; embeddings float32 [batch, d] → a scalar."""
        triplets = triplet_loss(labels, embeddings, self._how.margin, self._how.triplets)
        if not self._how.proxies:
            return triplets
        return triplets + self._how.proxies * self._classification(labels, embeddings)

    def begin(self, labels: tf.Tensor, embeddings: tf.Tensor) -> None:
        """Let each proxy begin in the middle of its class: labels int [photos], embeddings float32 [photos, d].

        Source: Qi, Brown, Lowe, "Low-Shot Learning with Imprinted Weights", 2018.
        """
        if self._how.proxies:
            middles = tf.math.unsorted_segment_mean(embeddings, labels, self._classes)
            self._proxies.assign(tf.math.l2_normalize(middles, axis=1))

    def _classification(self, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
        similarities = tf.matmul(embeddings, tf.math.l2_normalize(self._proxies, axis=1), transpose_b=True)
        return tf.reduce_mean(
            tf.keras.losses.categorical_crossentropy(
                tf.one_hot(labels, self._classes),
                similarities / self._how.temperature,
                from_logits=True,
                label_smoothing=self._how.label_smoothing,
            )
        )


class SoftmaxObjective(tf.Module):  # type: ignore[misc]  # it has no types
    """Cross-entropy of a softmax layer on embeddings that are not of unit length.

    Args:
        how: dropout.
        classes: how many.
        dimension: of the embeddings.
    """

    unit_length = False

    def __init__(self, how: SoftmaxLoss, classes: int, dimension: int) -> None:
        super().__init__()
        self._classes = classes
        self._dropout = tf.keras.layers.Dropout(how.dropout, dtype="float32")
        self._layer = tf.keras.layers.Dense(classes, dtype="float32", name="softmax")
        self._layer.build((None, dimension))

    def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The loss of a batch; see `TripletObjective`."""
        logits = self._layer(self._dropout(embeddings, training=training))
        targets = tf.one_hot(labels, self._classes)
        return tf.reduce_mean(tf.keras.losses.categorical_crossentropy(targets, logits, from_logits=True))


Objective = TripletObjective | SoftmaxObjective


def objective(how: AnyLoss, classes: int, dimension: int) -> Objective:
    """What a recipe's loss minimises, for that many classes and dimensions."""
    if isinstance(how, SoftmaxLoss):
        return SoftmaxObjective(how, classes, dimension)
    return TripletObjective(how, classes, dimension)
