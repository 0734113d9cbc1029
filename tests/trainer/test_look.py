"""The part look of an embedding."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from retrieval.bundle_format import Part
from trainer.backbones import BACKBONES
from trainer.export import check_parity, export_onnx
from trainer.look import build_look, pool
from trainer.network import EmbeddingNetwork, build_network, embed
from trainer.recipes.components import Head, Look

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def network_of_two_parts(layers: tuple[str, ...] = (), length: int = 12) -> EmbeddingNetwork:
    """A network with random weights, whose part look is fitted to random features."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    network = build_network(BACKBONES["small_cnn"], "none", 16, Head(), look=Look(length=length, weight=0.4))
    if layers:
        look = build_look(network.features, layers, length, 0.4)
        network = EmbeddingNetwork(**{**vars(network), "look": look})
    assert network.look is not None
    features = np.random.default_rng(0).normal(size=(50, network.look.head.input_shape[-1])).astype(np.float32)
    network.look.fit(features, features + np.random.default_rng(1).normal(scale=0.1, size=(2, *features.shape)))
    return network


def test_pooled_maps_have_unit_length_each() -> None:
    first = tf.random.uniform((3, 4, 4, 5))
    pooled = pool([first, tf.ones((3, 2))]).numpy()
    means = first.numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(pooled[:, :5], means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(pooled[:, 5:], np.sqrt(0.5), rtol=1e-5)


def test_what_differs_between_views_of_a_photo_is_discarded() -> None:
    rng = np.random.default_rng(0)
    photos = np.hstack([rng.normal(size=(60, 10)), rng.normal(size=(60, 10))]).astype(np.float32)
    views = np.stack([photos] * 3)
    views[..., 10:] += rng.normal(scale=3, size=(3, 60, 10))  # an edit changes the second half
    network = network_of_two_parts()
    look = build_look(network.features, (), 8, 0.5)
    look = type(look)(look.maps, _head(20, 8), 0.5)
    look.fit(photos, views)
    of_photos, of_views = look.head(photos).numpy(), look.head(views[0]).numpy()
    scores = of_views @ of_photos.T
    assert (scores.argmax(axis=1) == np.arange(60)).mean() > 0.8
    assert np.linalg.norm(of_photos, axis=1) == pytest.approx(1, abs=1e-5)


def _head(width: int, length: int) -> tf.keras.Model:
    features = tf.keras.layers.Input((width,))
    projection = tf.keras.layers.Dense(length, name="look_projection")(features)
    return tf.keras.Model(features, tf.keras.layers.UnitNormalization()(projection))


def test_few_and_equal_photos_are_fitted_too() -> None:
    network = network_of_two_parts()
    width = network.look.head.input_shape[-1]
    network.look.fit(np.ones((2, width), np.float32), np.ones((1, 2, width), np.float32))
    assert np.isfinite(embed(network.whole(), IMAGES)).all()


@pytest.mark.parametrize(
    "layers",
    [pytest.param((), id="last map"), pytest.param(("conv1b", "conv2b"), id="two maps", marks=pytest.mark.slow)],
)
def test_both_parts_have_unit_length_times_the_root_of_their_weight(layers: tuple[str, ...], tmp_path: Path) -> None:
    network = network_of_two_parts(layers)
    assert network.parts == [Part(name="kind", length=16, weight=0.6), Part(name="look", length=12, weight=0.4)]
    embeddings = network.whole().predict(IMAGES, verbose=0)
    assert np.linalg.norm(embeddings[:, :16], axis=1) == pytest.approx(np.sqrt(0.6), abs=1e-5)
    assert np.linalg.norm(embeddings[:, 16:], axis=1) == pytest.approx(np.sqrt(0.4), abs=1e-5)
    kind = network.kind().predict(IMAGES, verbose=0)
    np.testing.assert_allclose(embeddings[:, :16], np.sqrt(0.6) * kind, atol=1e-5)
    export_onnx(network, tmp_path / "embedder.onnx")
    assert check_parity(network.whole(), tmp_path / "embedder.onnx", IMAGES).min_cosine > 0.99999
    session = onnxruntime.InferenceSession(tmp_path / "embedder.onnx")
    made, regions = session.run(["embeddings", "regions"], {"images": IMAGES, "explain": np.array(True)})
    np.testing.assert_allclose(regions.sum(axis=(1, 2)), made, atol=1e-5)


def test_the_part_is_not_longer_than_the_features() -> None:
    assert network_of_two_parts(length=500).look.length == 128


@pytest.mark.slow
def test_the_same_network_is_the_same_file_whenever_it_is_exported(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        export_onnx(network_of_two_parts(), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
