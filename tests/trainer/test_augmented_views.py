"""Augmented views of training photos: new ones each time, or a few with cached activations of frozen layers."""

import numpy as np
import pytest
import tensorflow as tf

import trainer.augmented_views
from trainer.augmentation import random_views
from trainer.augmented_views import CachedViews, FreshViews, augmented_views
from trainer.backbones import BACKBONES
from trainer.network import EmbeddingNetwork, build_for
from trainer.recipes import RECIPES, Recipe
from trainer.recipes.components import Unchanged
from trainer.recipes.overrides import override

SMALL = ["views=3", "preparation.size=96", "preparation.train_size=64", "sampling.batch_size=4"]
RECIPE = override(RECIPES["default"], SMALL)
PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)
BATCH, NUMBERS = np.array([4, 0, 2]), np.array([1, 0, 2])


@pytest.fixture(scope="module")
def network() -> EmbeddingNetwork:
    return build_for(RECIPE, BACKBONES["efficientnet_lite0"], "auto")


@pytest.mark.slow
def test_frozen_and_trainable_layers_compute_what_the_whole_network_does(network: EmbeddingNetwork) -> None:
    recipe = override(RECIPE, ["augmentation=unchanged"])
    fresh, cached = FreshViews(PHOTOS, network, recipe), augmented_views(PHOTOS, network, recipe)
    assert isinstance(cached, CachedViews)
    whole = network.features(random_views(PHOTOS[BATCH], 64, Unchanged()), training=False)
    for views in (fresh, cached):
        made = network.trainable(views(BATCH, NUMBERS), training=False)
        np.testing.assert_allclose(made, whole, rtol=1e-4, atol=1e-5)


def test_a_cached_view_stays_and_a_fresh_one_changes(network: EmbeddingNetwork) -> None:
    cached, fresh = augmented_views(PHOTOS, network, RECIPE), FreshViews(PHOTOS, network, RECIPE)
    assert np.array_equal(cached(BATCH, NUMBERS), cached(BATCH, NUMBERS))
    assert not np.array_equal(cached(BATCH, NUMBERS), cached(BATCH, np.array([2, 1, 0])))
    assert not np.array_equal(fresh(BATCH, NUMBERS), fresh(BATCH, NUMBERS))


@pytest.mark.slow
def test_the_same_seed_caches_the_same_views(network: EmbeddingNetwork) -> None:
    first, again = (views_from(seed=1, network=network) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, views_from(seed=2, network=network))


@pytest.mark.slow
def test_activations_are_nearly_the_same_in_mixed_precision(network: EmbeddingNetwork) -> None:
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        mixed = build_for(RECIPE, BACKBONES["efficientnet_lite0"], "auto")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert mixed.frozen.output.dtype == tf.bfloat16
    cached, exact = views_from(seed=1, network=mixed), views_from(seed=1, network=network)
    assert cached.dtype == np.float32
    assert np.corrcoef(cached.ravel(), exact.ravel())[0, 1] > 0.99
    assert np.isfinite(mixed.trainable(cached, training=False).numpy().astype(np.float32)).all()


def views_from(seed: int, network: EmbeddingNetwork) -> np.ndarray:
    tf.keras.utils.set_random_seed(seed)
    return np.asarray(augmented_views(PHOTOS, network, RECIPE)(BATCH, NUMBERS))


def test_all_trainable_variables_are_in_the_trainable_model(network: EmbeddingNetwork) -> None:
    assert network.frozen is not None
    trainable = {variable.ref() for variable in network.trainable.trainable_variables}
    assert trainable == {variable.ref() for variable in network.features.trainable_variables}
    assert not network.frozen.trainable_variables


@pytest.mark.slow
@pytest.mark.parametrize("changes", [["learns=all"], ["learns=head"]])
def test_nothing_is_cached_if_no_layers_are_frozen(changes: list[str]) -> None:
    recipe: Recipe = override(RECIPE, changes)
    network = build_for(recipe, BACKBONES["efficientnet_lite0"], "auto")
    views = augmented_views(PHOTOS, network, recipe)
    assert isinstance(views, FreshViews)
    assert network.frozen is None
    assert network.trainable is network.features


def test_nothing_is_cached_beyond_the_limit(network: EmbeddingNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    size = tf.size(augmented_views(PHOTOS, network, RECIPE)(BATCH[:1], NUMBERS[:1])).numpy() * 4 * len(PHOTOS) * 3
    monkeypatch.setattr(trainer.augmented_views, "MAX_CACHE_BYTES", size - 1)
    assert isinstance(augmented_views(PHOTOS, network, RECIPE), FreshViews)
    monkeypatch.setattr(trainer.augmented_views, "MAX_CACHE_BYTES", size)
    assert isinstance(augmented_views(PHOTOS, network, RECIPE), CachedViews)
