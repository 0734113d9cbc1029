"""The seam to TensorFlow Addons, and the loss that networks are trained with."""

import tensorflow as tf
import tensorflow_addons as tfa

from trainer.recipes import Loss


def triplet_semihard_loss(labels: tf.Tensor, embeddings: tf.Tensor, margin: float) -> tf.Tensor:
    """`TripletSemiHardLoss` of TensorFlow Addons (Schroff et al., "FaceNet", 2015), on Euclidean distances.

    Each ordered pair of photos of a class is held against the nearest negative that is farther away than its positive,
    or, where there is none, against the farthest negative.

    Args:
        labels: int [batch].
        embeddings: float32 [batch, d], unit length.
        margin: how much farther away the negative shall be.

    Returns:
        The mean over all pairs; 0, without a gradient, where no two photos of the batch share a class.
    """
    same = tf.equal(labels[:, None], labels[None, :])
    pairs = tf.math.count_nonzero(same) - tf.size(labels, tf.int64)
    return tf.cond(
        pairs > 0,
        lambda: tfa.losses.triplet_semihard_loss(labels, embeddings, margin=margin),
        lambda: tf.zeros((), embeddings.dtype),
    )


class EmbeddingLoss:
    """Semi-hard triplets, and classification by the nearest proxy: a learned direction for each class.

    Args:
        how: margin and weights.
        classes: how many.
        dimension: of the embeddings.
    """

    def __init__(self, how: Loss, classes: int, dimension: int) -> None:
        self._how = how
        self._classes = classes
        self._proxies = tf.Variable(tf.keras.initializers.Orthogonal()((classes, dimension)), name="proxies")
        self.trainable_variables = [self._proxies] if how.proxies else []

    def __call__(self, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
        """The loss of a batch: labels int [batch], embeddings float32 [batch, d] → a scalar."""
        triplets = triplet_semihard_loss(labels, embeddings, self._how.margin)
        if not self._how.proxies:
            return triplets
        return triplets + self._how.proxies * self._classification(labels, embeddings)

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
