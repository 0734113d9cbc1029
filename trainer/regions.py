"""Decomposes an embedding into the contributions of the cells of the backbone's last feature map.

Most backbones end with global pooling, so each feature is a sum over the cells of the last feature map. For a given
photo, the head is a linear function of the features, because the active ReLUs and the lengths used for normalization
are known. Applied to the contribution of one cell, it gives the contribution of the cell to the embedding. The
contributions of all cells add up to the embedding, and their dot products with another photo's embedding add up to the
cosine similarity, exactly, also for heads with ReLUs. Biases are distributed evenly over the cells. The position of a
cell is approximate: its receptive field is larger than the cell, and the padding of some backbones shifts it by half a
cell.

Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks", WACV 2019, which covers linear heads.
"""

from collections.abc import Callable

import tensorflow as tf

from trainer.look import LAYER, LookPart, global_pooling, pool
from trainer.network import EmbeddingNetwork, LookNetwork, join

EPSILON = 1e-12


def with_regions(
    network: EmbeddingNetwork | LookNetwork,
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]] | None:
    """Extend a network by the contributions of regions to its embeddings.

    Returns:
        A function from `images` uint8 [batch, size, size, 3] and `explain`, a bool, to `embeddings` float32 [batch, d],
        unit length, and `regions` float32 [batch, h, w, d], whose sum over the h × w cells of the last feature map is
        the embedding. If `explain` is false, `regions` is empty, float32 [0, h, w, d], and is not computed. None if the
        backbone does not end with global average or max pooling.
    """
    features = network.features
    pooling = global_pooling(features)
    if pooling is None:
        return None
    look, kind = network.look, network if isinstance(network, EmbeddingNetwork) else None
    weight = look.weight if look else 0.0
    maps_of = tf.keras.Model(features.input, [pooling.input, *(look.maps.outputs if look else ())])

    def run(images: tf.Tensor, explain: tf.Tensor) -> dict[str, tf.Tensor]:
        cells, *maps = tf.nest.flatten(maps_of(tf.cast(images, tf.float32), training=False))
        pooled = pooling(cells)
        of_kind = kind.head(pooled, training=False) if kind else None
        embeddings = join(of_kind, look.head(pool(maps)) if look else None, weight)

        def regions() -> tf.Tensor:
            of_kind = _project(_contributions(cells, pooled, pooling), kind.projection) if kind else None
            return join(of_kind, _of_look(look, maps, cells.shape[1:3]) if look else None, weight)

        empty = (0, *cells.shape[1:3], embeddings.shape[1])
        return {"embeddings": embeddings, "regions": tf.cond(explain, regions, lambda: tf.zeros(empty))}

    return run


def _of_look(look: LookPart, maps: list[tf.Tensor], grid: tf.TensorShape) -> tf.Tensor:
    """Decompose the part look into the contributions of the cells of a grid, float32 [batch, h, w, length].

    Maps with another grid are resized to it, so that the sum of their cells stays the same.
    """
    units = [_normalized(_on_grid(tf.cast(one, tf.float32) / _count(one), grid)) for one in maps]
    projection = look.head.get_layer(LAYER)
    regions = tf.concat(units, axis=3)
    return _normalized(regions @ projection.kernel + projection.bias / _count(regions))


def _on_grid(regions: tf.Tensor, grid: tf.TensorShape) -> tf.Tensor:
    if regions.shape[1:3] == grid:
        return regions
    resized = tf.image.resize(regions, grid, method="area") * _count(regions)
    resized /= _count(resized)
    return resized + (_sum(regions) - _sum(resized)) / _count(resized)


def _contributions(cells: tf.Tensor, pooled: tf.Tensor, pooling: tf.keras.layers.Layer) -> tf.Tensor:
    """Decompose pooled features: float32 [batch, h, w, f]. Cells with the same maximum share it equally."""
    if isinstance(pooling, tf.keras.layers.GlobalAveragePooling2D):
        return cells / _count(cells)
    has_maximum = tf.cast(cells == pooled[:, None, None], tf.float32)
    return cells * has_maximum / _sum(has_maximum)


def _project(regions: tf.Tensor, projection: tf.keras.Model) -> tf.Tensor:
    """Map contributions to features, float32 [batch, h, w, f], to contributions to the embedding, [batch, h, w, d]."""
    for layer in projection.layers:
        if isinstance(layer, tf.keras.layers.UnitNormalization):
            regions = _normalized(regions)
        if isinstance(layer, tf.keras.layers.Dense):
            regions = regions @ layer.kernel + layer.bias / _count(regions)
            if layer.activation is tf.keras.activations.relu:
                regions *= tf.cast(_sum(regions) > 0, tf.float32)
    return _normalized(regions)


def _normalized(regions: tf.Tensor) -> tf.Tensor:
    """Scale contributions so that their sum has unit length."""
    return regions / tf.maximum(tf.norm(_sum(regions), axis=-1, keepdims=True), EPSILON)


def _sum(regions: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(regions, axis=(1, 2), keepdims=True)


def _count(regions: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_prod(tf.shape(regions)[1:3]), tf.float32)
