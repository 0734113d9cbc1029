"""What each place of a photo adds to its embedding: the network's last feature map, seen through the head.

A global pooling ends most backbones: a feature is the sum of what the places of the last map have in it. The head is
made of dense layers and of scaling to unit length; once it is known which of their ReLUs a photo opens, and how long
its features are, they are linear, and take the share of one place as they take the sum. So the shares of all places add
up to the embedding, and their dot products with the embedding of another photo to the cosine similarity of both:
exactly, for heads with ReLUs, too. Biases belong to no place, and are spread over all. What is approximate is where a
place is: its features have seen more of the photo than its cell of the map, and by the padding of some backbones they
look half a cell aside.

Source: Stylianou, Souvenir, Pless, "Visualizing Deep Similarity Networks", WACV 2019, which does this for linear heads.
"""

from collections.abc import Callable

import tensorflow as tf

from trainer.network import EmbeddingNetwork

SHORTEST = 1e-12


def with_regions(network: EmbeddingNetwork) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]] | None:
    """A network that says on demand what its embeddings are made of.

    Returns:
        A function from `images` uint8 [batch, size, size, 3] and `explain`, bool, to `embeddings` float32 [batch, d] of
        unit length and, where they are to be explained, `regions` float32 [batch, h, w, d], which add up to the
        embedding over the h × w places of the last map; they are empty otherwise, and cost nothing. None where the
        backbone's features are not the mean or maximum of a map.
    """
    features = network.features
    pooling = features.get_layer(features.output_names[0])
    if not isinstance(pooling, tf.keras.layers.GlobalAveragePooling2D | tf.keras.layers.GlobalMaxPooling2D):
        return None
    last_map = tf.keras.Model(features.input, pooling.input)

    def run(images: tf.Tensor, explain: tf.Tensor) -> dict[str, tf.Tensor]:
        places = last_map(tf.cast(images, tf.float32), training=False)
        pooled = pooling(places)
        embeddings = network.head(pooled, training=False)
        none = (0, *places.shape[1:3], embeddings.shape[1])
        regions = tf.cond(
            explain,
            lambda: _project(_shares(places, pooled, pooling), network.projection),
            lambda: tf.zeros(none),
        )
        return {"embeddings": embeddings, "regions": regions}

    return run


def _shares(places: tf.Tensor, pooled: tf.Tensor, pooling: tf.keras.layers.Layer) -> tf.Tensor:
    """What each place has in the pooled features, float32 [batch, h, w, f]; several with the maximum share it."""
    if isinstance(pooling, tf.keras.layers.GlobalAveragePooling2D):
        return places / _count(places)
    has_maximum = tf.cast(places == pooled[:, None, None], tf.float32)
    return places * has_maximum / _sum(has_maximum)


def _project(shares: tf.Tensor, projection: tf.keras.Model) -> tf.Tensor:
    """The shares of features as shares of the embedding of unit length, float32 [batch, h, w, d]."""
    for layer in projection.layers:
        if isinstance(layer, tf.keras.layers.UnitNormalization):
            shares = _of_unit_length(shares)
        if isinstance(layer, tf.keras.layers.Dense):
            shares = shares @ layer.kernel + layer.bias / _count(shares)
            if layer.activation is tf.keras.activations.relu:
                shares *= tf.cast(_sum(shares) > 0, tf.float32)
    return _of_unit_length(shares)


def _of_unit_length(shares: tf.Tensor) -> tf.Tensor:
    """Shares scaled so that their sum has unit length."""
    return shares / tf.maximum(tf.norm(_sum(shares), axis=-1, keepdims=True), SHORTEST)


def _sum(shares: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(shares, axis=(1, 2), keepdims=True)


def _count(shares: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.reduce_prod(tf.shape(shares)[1:3]), tf.float32)
