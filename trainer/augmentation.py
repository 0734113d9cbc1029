"""Views of training photos, most of them random."""

import tensorflow as tf

from trainer.recipes.components import CropAndFlip, QuarterTurn, RandomViews, Strong, Unchanged
from trainer.recipes.recipe import AnyAugmentation

WHITE = 255.0


def random_views(photos: tf.Tensor, size: int, how: AnyAugmentation) -> tf.Tensor:
    """One view of each photo.

    Args:
        photos: uint8 [batch, side, side, 3].
        size: side of a view in pixels.
        how: what may change.

    Returns:
        float32 [batch, size, size, 3] in 0…255.
    """
    photos = tf.cast(photos, tf.float32)
    match how:
        case RandomViews():
            views = tf.image.crop_and_resize(photos, _boxes(_count(photos), how), _each(photos), (size, size))
            return _recoloured(views, how.colour)
        case CropAndFlip():
            return _cropped(photos, size, probability=1.0, flip=how.flip)
        case Strong():
            return _strong(_resized(photos, size), how)
        case QuarterTurn():
            return tf.image.flip_left_right(tf.image.rot90(_resized(photos, size)))
        case Unchanged():
            return _resized(photos, size)


def _boxes(count: tf.Tensor, how: RandomViews) -> tf.Tensor:
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
        return _per_view(views, 1 - strength, 1 + strength)

    views = views * factor()
    mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
    views = mean + (views - mean) * factor()
    grey = tf.reduce_mean(views, axis=3, keepdims=True)
    return tf.clip_by_value(grey + (views - grey) * factor(), 0.0, WHITE)


def _strong(views: tf.Tensor, how: Strong) -> tf.Tensor:
    size, margin = views.shape[1], how.padding // 2
    padded = tf.pad(views, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    views = _cropped(padded, size, probability=how.crop, flip=how.flip) / WHITE
    views = _sometimes(how.jitter, views, _jittered(views, how))
    grey = tf.repeat(tf.image.rgb_to_grayscale(views), 3, axis=3)
    return tf.clip_by_value(_sometimes(how.grey, views, grey), 0.0, 1.0) * WHITE


def _jittered(views: tf.Tensor, how: Strong) -> tf.Tensor:
    """Brightness, contrast, saturation and hue, as SimCLR changes them; views are in 0…1."""
    views = views + _per_view(views, -how.brightness, how.brightness)
    mean = tf.reduce_mean(views, axis=(1, 2), keepdims=True)
    views = mean + (views - mean) * _per_view(views, 1 - how.contrast, 1 + how.contrast)
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(tf.clip_by_value(views, 0.0, 1.0)), 3, axis=3)
    hue = (hue + _per_view(views, -how.hue, how.hue)) % 1.0
    saturation *= _per_view(views, 1 - how.saturation, 1 + how.saturation)
    return tf.image.hsv_to_rgb(tf.concat([hue, tf.clip_by_value(saturation, 0.0, 1.0), value], axis=3))


def _cropped(photos: tf.Tensor, size: int, probability: float, flip: float) -> tf.Tensor:
    """Of each photo a square of that many pixels, at random with some probability and central otherwise."""
    count, last = _count(photos), max(photos.shape[1] - 1, 1)
    room = max(photos.shape[1] - size, 0)
    corner = tf.cast(tf.random.uniform([count, 2], 0, room + 1, tf.int32), tf.float32)
    corner = tf.where(tf.random.uniform([count, 1]) < probability, corner, tf.fill([count, 2], float(room // 2)))
    top, left = tf.unstack(corner, axis=1)
    bottom, right = top + (last - room), left + (last - room)
    mirrored = tf.random.uniform([count]) < flip
    sides = tf.where(mirrored, [right, left], [left, right])
    boxes = tf.stack([top, sides[0], bottom, sides[1]], axis=1) / last
    return tf.image.crop_and_resize(photos, boxes, _each(photos), (size, size))


def _resized(photos: tf.Tensor, size: int) -> tf.Tensor:
    return photos if photos.shape[1] == size else tf.image.resize(photos, (size, size), antialias=True)


def _sometimes(probability: float, views: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    return tf.where(_per_view(views, 0.0, 1.0) < probability, changed, views)


def _per_view(views: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """A random number for each view: float32 [batch, 1, 1, 1]."""
    return tf.random.uniform([_count(views), 1, 1, 1], low, high)


def _count(photos: tf.Tensor) -> tf.Tensor:
    return tf.shape(photos)[0]


def _each(photos: tf.Tensor) -> tf.Tensor:
    return tf.range(_count(photos))
