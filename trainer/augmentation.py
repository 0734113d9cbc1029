"""Random views of training photos."""

import tensorflow as tf

from trainer.recipes import Augmentation


def random_views(photos: tf.Tensor, size: int, how: Augmentation) -> tf.Tensor:
    """One random view of each photo.

    Args:
        photos: uint8 [batch, height, width, 3].
        size: side of a view in pixels.
        how: what may change.

    Returns:
        float32 [batch, size, size, 3] in 0…255.
    """
    photos, count = tf.cast(photos, tf.float32), tf.shape(photos)[0]
    return _recoloured(tf.image.crop_and_resize(photos, _boxes(count, how), tf.range(count), (size, size)), how.colour)


def _boxes(count: tf.Tensor, how: Augmentation) -> tf.Tensor:
    """Random parts of a photo: (top, left, bottom, right) as fractions; left and right trade places in a mirror."""
    area = tf.random.uniform([count], how.smallest_area, 1.0)
    aspect = how.stretch ** tf.random.uniform([count], -1.0, 1.0)
    height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
    top = tf.random.uniform([count]) * (1 - height)
    left = tf.random.uniform([count]) * (1 - width)
    mirrored = tf.logical_and(how.flip, tf.random.uniform([count]) < 0.5)
    sides = tf.where(mirrored, [left + width, left], [left, left + width])
    return tf.stack([top, sides[0], top + height, sides[1]], axis=1)


def _recoloured(views: tf.Tensor, strength: float) -> tf.Tensor:
    """Brightness, then contrast, then saturation, each by a factor of its own for each view."""

    def factor() -> tf.Tensor:
        return tf.random.uniform([tf.shape(views)[0], 1, 1, 1], 1 - strength, 1 + strength)

    views = views * factor()
    mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
    views = mean + (views - mean) * factor()
    grey = tf.reduce_mean(views, axis=3, keepdims=True)
    return tf.clip_by_value(grey + (views - grey) * factor(), 0.0, 255.0)
