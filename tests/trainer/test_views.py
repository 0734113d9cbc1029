"""Views of training photos: each another one, or a few that are kept as a resting part sees them."""

import numpy as np
import pytest
import tensorflow as tf

import trainer.views
from trainer.backbones import BACKBONES
from trainer.network import EmbeddingNetwork, build_for
from trainer.recipes import RECIPES, Recipe
from trainer.recipes.overrides import override
from trainer.views import FreshViews, StoredViews, views_of

SMALL = ["views=3", "preparation.size=96", "preparation.train_size=64", "sampling.batch_size=4"]
RECIPE = override(RECIPES["default"], SMALL)
PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)
BATCH, NUMBERS = np.array([4, 0, 2]), np.array([1, 0, 2])


@pytest.fixture(scope="module")
def network() -> EmbeddingNetwork:
    return build_for(RECIPE, BACKBONES["efficientnet_lite0"], "auto")


def test_what_rests_has_seen_the_stored_views_as_the_whole_network_would(network: EmbeddingNetwork) -> None:
    recipe = override(RECIPE, ["augmentation=unchanged"])
    fresh, stored = FreshViews(PHOTOS, network, recipe), views_of(PHOTOS, network, recipe)
    assert isinstance(stored, StoredViews)
    whole = network.features(fresh(BATCH, NUMBERS), training=False)
    np.testing.assert_allclose(stored.learning(stored(BATCH, NUMBERS), training=False), whole, rtol=1e-4, atol=1e-5)


def test_a_stored_view_stays_and_a_fresh_one_changes(network: EmbeddingNetwork) -> None:
    stored, fresh = views_of(PHOTOS, network, RECIPE), FreshViews(PHOTOS, network, RECIPE)
    assert np.array_equal(stored(BATCH, NUMBERS), stored(BATCH, NUMBERS))
    assert not np.array_equal(stored(BATCH, NUMBERS), stored(BATCH, np.array([2, 1, 0])))
    assert not np.array_equal(fresh(BATCH, NUMBERS), fresh(BATCH, NUMBERS))


def test_all_that_learns_is_in_the_learning_part(network: EmbeddingNetwork) -> None:
    assert network.resting is not None
    learning = {variable.ref() for variable in network.learning.trainable_variables}
    assert learning == {variable.ref() for variable in network.features.trainable_variables}
    assert not network.resting.trainable_variables


@pytest.mark.parametrize("changes", [["learns=all"], ["learns=head"]])
def test_nothing_is_stored_where_nothing_rests_apart(changes: list[str]) -> None:
    recipe: Recipe = override(RECIPE, changes)
    network = build_for(recipe, BACKBONES["efficientnet_lite0"], "auto")
    views = views_of(PHOTOS, network, recipe)
    assert isinstance(views, FreshViews)
    assert views.learning is network.features


def test_nothing_is_stored_that_is_too_much(network: EmbeddingNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    size = tf.size(views_of(PHOTOS, network, RECIPE)(BATCH[:1], NUMBERS[:1])).numpy() * 4 * len(PHOTOS) * 3
    monkeypatch.setattr(trainer.views, "STORED_AT_MOST", size - 1)
    assert isinstance(views_of(PHOTOS, network, RECIPE), FreshViews)
    monkeypatch.setattr(trainer.views, "STORED_AT_MOST", size)
    assert isinstance(views_of(PHOTOS, network, RECIPE), StoredViews)
