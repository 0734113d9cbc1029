"""Augmentation of training photos."""

import tensorflow as tf

from trainer.recipes.components import CropAndFlip, QuarterTurn, RandomViews, Strong, Unchanged
from trainer.recipes.recipe import AnyAugmentation

WHITE = 255.0


def random_views(photos: tf.Tensor, size: int, augmentation: AnyAugmentation) -> tf.Tensor:
    """Draw one augmented view, `size` pixels wide and high, of each photo, uint8 [batch, side, side, 3].

    Returns:
        float32 [batch, size, size, 3] in 0…255.
    """
    photos = tf.cast(photos, tf.float32)
    match augmentation:
        case RandomViews():
            boxes = _boxes(_count(photos), augmentation)
            return _jittered_colour(_crop_and_resize(photos, boxes, size), augmentation.colour)
        case CropAndFlip():
            return _cropped(photos, size, probability=1.0, flip=augmentation.flip)
        case Strong():
            return _strong(_resized(photos, size), augmentation)
        case QuarterTurn():
            return tf.image.flip_left_right(tf.image.rot90(_resized(photos, size)))
        case Unchanged():
            return _resized(photos, size)


def _boxes(count: tf.Tensor, config: RandomViews) -> tf.Tensor:
    """Draw crops: float32 [count, 4], (top, left, bottom, right) as fractions; flipped crops swap left and right."""
    area = tf.random.uniform([count], config.smallest_area, 1.0)
    aspect = config.stretch ** tf.random.uniform([count], -1.0, 1.0)
    height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
    top = tf.random.uniform([count]) * (1 - height)
    left = tf.random.uniform([count]) * (1 - width)
    flipped = tf.logical_and(config.flip, tf.random.uniform([count]) < 0.5)
    sides = tf.where(flipped, [left + width, left], [left, left + width])
    return tf.stack([top, sides[0], top + height, sides[1]], axis=1)


def _jittered_colour(views: tf.Tensor, strength: float) -> tf.Tensor:
    """Scale brightness, contrast and saturation of each view by independent random factors in 1 ± strength."""

    def factor() -> tf.Tensor:
        return _per_view(views, 1 - strength, 1 + strength)

    views = views * factor()
    mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
    views = mean + (views - mean) * factor()
    grey = tf.reduce_mean(views, axis=3, keepdims=True)
    return tf.clip_by_value(grey + (views - grey) * factor(), 0.0, WHITE)


def _strong(views: tf.Tensor, config: Strong) -> tf.Tensor:
    size, margin = views.shape[1], config.padding // 2
    padded = tf.pad(views, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    views = _cropped(padded, size, probability=config.crop, flip=config.flip) / WHITE
    views = _sometimes(config.jitter, views, _jittered_hsv(views, config))
    grey = tf.repeat(tf.image.rgb_to_grayscale(views), 3, axis=3)
    return tf.clip_by_value(_sometimes(config.grey, views, grey), 0.0, 1.0) * WHITE


def _jittered_hsv(views: tf.Tensor, config: Strong) -> tf.Tensor:
    """Change brightness, contrast, saturation and hue of each view in 0…1, as SimCLR does."""
    views = views + _per_view(views, -config.brightness, config.brightness)
    mean = tf.reduce_mean(views, axis=(1, 2), keepdims=True)
    views = mean + (views - mean) * _per_view(views, 1 - config.contrast, 1 + config.contrast)
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(tf.clip_by_value(views, 0.0, 1.0)), 3, axis=3)
    hue = (hue + _per_view(views, -config.hue, config.hue)) % 1.0
    saturation *= _per_view(views, 1 - config.saturation, 1 + config.saturation)
    return tf.image.hsv_to_rgb(tf.concat([hue, tf.clip_by_value(saturation, 0.0, 1.0), value], axis=3))


def _cropped(photos: tf.Tensor, size: int, probability: float, flip: float) -> tf.Tensor:
    """Crop a square of `size` pixels from each photo, at random with the given probability, otherwise its centre."""
    count, last = _count(photos), max(photos.shape[1] - 1, 1)
    slack = max(photos.shape[1] - size, 0)
    corner = tf.cast(tf.random.uniform([count, 2], 0, slack + 1, tf.int32), tf.float32)
    corner = tf.where(tf.random.uniform([count, 1]) < probability, corner, tf.fill([count, 2], float(slack // 2)))
    top, left = tf.unstack(corner, axis=1)
    bottom, right = top + (last - slack), left + (last - slack)
    flipped = tf.random.uniform([count]) < flip
    sides = tf.where(flipped, [right, left], [left, right])
    boxes = tf.stack([top, sides[0], bottom, sides[1]], axis=1) / last
    return _crop_and_resize(photos, boxes, size)


def _crop_and_resize(photos: tf.Tensor, boxes: tf.Tensor, size: int) -> tf.Tensor:
    return tf.image.crop_and_resize(photos, boxes, tf.range(_count(photos)), (size, size))


def _resized(photos: tf.Tensor, size: int) -> tf.Tensor:
    return photos if photos.shape[1] == size else tf.image.resize(photos, (size, size), antialias=True)


def _sometimes(probability: float, views: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    return tf.where(_per_view(views, 0.0, 1.0) < probability, changed, views)


def _per_view(views: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Draw a random number for each view: float32 [batch, 1, 1, 1]."""
    return tf.random.uniform([_count(views), 1, 1, 1], low, high)


def _count(photos: tf.Tensor) -> tf.Tensor:
    return tf.shape(photos)[0]
