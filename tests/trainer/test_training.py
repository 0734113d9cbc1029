"""Training on a few digits of scikit-learn: 8 × 8 pixels, four classes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from marks import slow
from sklearn.datasets import load_digits

from retrieval.analysis.evaluation import evaluate_embeddings
from trainer.backbones import BACKBONES
from trainer.data import LabelledImages
from trainer.learner import Learner
from trainer.network import EmbeddingNetwork, build_for, embed
from trainer.recipes import RECIPES, Recipe
from trainer.recipes.overrides import override
from trainer.training import Diverged, Epoch, train_network

SMALL = ["dimension=16", "sampling.batch_size=24", "preparation.size=16", "preparation.train_size=16"]
WITH_LOOK = override(RECIPES["default"], [*SMALL, "epochs=2", "steps_per_epoch=15"])
SHORT = override(WITH_LOOK, ["look=none"])  # a quarter of the time of so short a training
TOO_FAST = "optimizer.fresh=1e39"  # infinite in float32
overflows = pytest.mark.filterwarnings("ignore:overflow encountered in cast")


class Watched:
    def __init__(self, interrupt_at_step: int | None = None) -> None:
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.interrupted = False
        self.diverged: str | None = None
        self._interrupt_at_step = interrupt_at_step

    def on_step(self, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) == self._interrupt_at_step:
            raise KeyboardInterrupt

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def on_resume(self, epoch: Epoch) -> None:
        raise AssertionError("nothing is resumed")

    def on_interruption(self) -> None:
        self.interrupted = True

    def on_divergence(self, why: str) -> None:
        self.diverged = why


@pytest.fixture(scope="module")
def digits() -> Iterator[tuple[LabelledImages, LabelledImages]]:
    images, labels = load_digits(n_class=4, return_X_y=True)
    grown = np.kron(images.reshape(-1, 8, 8) * (255 / 16), np.ones((2, 2))).astype(np.uint8)
    coloured = np.repeat(grown[..., None], 3, axis=3)
    names = labels.astype(str)
    yield LabelledImages(coloured[:200], names[:200]), LabelledImages(coloured[200:300], names[200:300])


def train(
    digits: tuple[LabelledImages, LabelledImages], recipe: Recipe = SHORT, seed: int = 0, watched: Watched | None = None
) -> tuple[EmbeddingNetwork, list[Epoch]]:
    tf.keras.utils.set_random_seed(seed)
    network = build_for(recipe, BACKBONES["small_cnn"], "none")
    epochs = train_network(network, recipe, train=digits[0], val=digits[1], seed=seed, callbacks=[watched or Watched()])
    return network, epochs


def map_at_r(network: EmbeddingNetwork, photos: LabelledImages) -> float:
    return evaluate_embeddings(embed(network.kind(), photos.images), photos.labels).overall["map_at_r"]


@pytest.mark.slow
def test_training_improves_the_network_and_reports_its_progress(digits: tuple[LabelledImages, LabelledImages]) -> None:
    watched = Watched()
    untrained = map_at_r(build_for(SHORT, BACKBONES["small_cnn"], "none"), digits[1])
    network, epochs = train(digits, watched=watched)
    assert map_at_r(network, digits[1]) > untrained + 0.15
    assert watched.epochs == epochs
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert len(watched.losses) == 30
    assert epochs[0].loss == pytest.approx(np.mean(watched.losses[:15]))
    assert epochs[1].loss < epochs[0].loss


@pytest.mark.slow
def test_the_weights_with_the_best_map_at_r_are_kept(digits: tuple[LabelledImages, LabelledImages]) -> None:
    wild = override(SHORT, ["epochs=4", "steps_per_epoch=6", "optimizer.fresh=0.1", "schedule.warm_up=12"])
    network, epochs = train(digits, wild)
    assert map_at_r(network, digits[1]) == pytest.approx(max(epoch.map_at_r for epoch in epochs), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("watched", ["map_at_r", slow("loss")])
def test_early_stopping(watched: str, digits: tuple[LabelledImages, LabelledImages]) -> None:
    still = ["epochs=9", "steps_per_epoch=1", "stopping.patience=2", "optimizer.fresh=1e-12"]
    _, epochs = train(digits, override(SHORT, [*still, f"stopping.on={watched}"]))
    assert len(epochs) < 9


@pytest.mark.slow
def test_the_last_weights_are_kept_if_the_recipe_says_so(digits: tuple[LabelledImages, LabelledImages]) -> None:
    wild = ["epochs=3", "steps_per_epoch=4", "optimizer.fresh=0.1", "stopping.patience=none", "stopping.keep=last"]
    network, epochs = train(digits, override(SHORT, wild))
    assert len(epochs) == 3
    assert map_at_r(network, digits[1]) == pytest.approx(epochs[-1].map_at_r, abs=1e-6)


@pytest.mark.slow
@overflows
def test_a_loss_of_nan_stops_training_and_keeps_the_best_weights(
    digits: tuple[LabelledImages, LabelledImages],
) -> None:
    fatal = ["steps_per_epoch=2", "epochs=4", "optimizer=sgd", "schedule=steps", "schedule.boundaries=2"]
    fatal += ["schedule.factors=0,1", TOO_FAST]
    watched = Watched()
    network, epochs = train(digits, override(WITH_LOOK, fatal), watched=watched)
    assert watched.diverged is not None
    assert "the loss is nan" in watched.diverged
    assert epochs and all(np.isfinite(epoch.loss) for epoch in epochs)
    assert np.isfinite(embed(network.whole(), digits[1].images)).all()
    with pytest.raises(Diverged, match="Lower the learning rates"):
        train(digits, override(SHORT, [*fatal, "schedule.factors=1,1"]))


@pytest.mark.slow
@overflows
def test_embeddings_that_are_not_finite_stop_training(digits: tuple[LabelledImages, LabelledImages]) -> None:
    fatal = ["steps_per_epoch=1", "epochs=4", "optimizer=sgd", "schedule=steps", "schedule.boundaries=1"]
    watched = Watched()
    network, epochs = train(digits, override(SHORT, [*fatal, "schedule.factors=0,1", TOO_FAST]), watched=watched)
    assert watched.diverged == "Training diverged in epoch 2: embeddings are not finite."
    assert [epoch.number for epoch in epochs] == [1]
    assert np.isfinite(embed(network.whole(), digits[1].images)).all()


@pytest.fixture
def few(digits: tuple[LabelledImages, LabelledImages]) -> LabelledImages:
    return LabelledImages(digits[0].images[:24], digits[0].labels[:24])


TWO_ROUNDS = override(SHORT, ["rounds=2", "steps_per_epoch=6", "mixup=0", "stopping.patience=none"])


@pytest.mark.slow
@pytest.mark.parametrize("changes", [[], ["learns=head"]], ids=" ".join)
def test_fine_tuning_runs_without_randomness_are_equal(changes: list[str], few: LabelledImages) -> None:
    always_all = ["sampling=shuffled", "sampling.batch_size=24", "augmentation=unchanged", "head.dropout=0"]
    watched = Watched()
    recipe = override(TWO_ROUNDS, [*always_all, "epochs=4", *changes])
    epochs = train_network(built(recipe), recipe, train=few, val=few, seed=0, callbacks=[watched])
    *_, first, second, again, again_second = [epoch.loss for epoch in epochs]
    assert (again, again_second) == pytest.approx((first, second), rel=1e-3)
    assert second < 0.98 * first
    # Batches are in another order, so sums are rounded differently: by 0.0017 at most on some processors.
    assert watched.losses[-12:] == pytest.approx(watched.losses[-24:-12], rel=3e-3)


@pytest.mark.slow
def test_the_mean_weights_of_the_fine_tuning_runs_are_kept(few: LabelledImages) -> None:
    ended: list[list[np.ndarray]] = []

    class Weighing(Watched):
        def on_epoch(self, epoch: Epoch) -> None:
            ended.append(network.head.get_weights())

    recipe = override(TWO_ROUNDS, ["stopping.keep=last", "head_first=none"])
    network = built(recipe)
    epochs = train_network(network, recipe, train=few, val=few, seed=0, callbacks=[Weighing()])
    for kept, first, second in zip(network.head.get_weights(), *ended, strict=True):
        assert kept == pytest.approx((first + second) / 2, abs=1e-6)
    assert not np.allclose(ended[0][0], ended[1][0], atol=1e-3)
    assert map_at_r(network, few) == pytest.approx(epochs[-1].map_at_r, abs=1e-6)


@pytest.mark.slow
def test_evaluation_and_training_subtract_different_means(few: LabelledImages) -> None:
    recipe = override(TWO_ROUNDS, ["head=centred", "epochs=2", "dimension=16"])
    network = built(recipe)
    learner = Learner(network, recipe, few, seed=0)
    projector, begun = network.without_unit_length(), [variable.numpy() for variable in network.features.weights]
    for _, losses in learner.epochs():
        list(losses)
        of_views = projector.predict(few.images, verbose=0)
        with learner.final_weights():
            np.testing.assert_allclose(projector.predict(few.images, verbose=0).mean(axis=0), 0, atol=1e-5)
        np.testing.assert_array_equal(projector.predict(few.images, verbose=0), of_views)
        assert np.abs(of_views.mean(axis=0)).max() > 1e-3
    assert any(
        np.abs(then - now.numpy()).max() > 1e-4 for then, now in zip(begun, network.features.weights, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["loss.proxies=0", "loss=softmax-loss"])
def test_a_head_without_trainable_variables(loss: str, few: LabelledImages) -> None:
    recipe = override(SHORT, ["head=centred", loss, "head_first.steps=3", "epochs=2"])
    network = built(recipe)
    epochs = train_network(network, recipe, train=few, val=few, seed=0)
    assert [epoch.number for epoch in epochs] == [0, 1, 2]
    assert np.isfinite(embed(network.whole(), few.images)).all()


def built(recipe: Recipe) -> EmbeddingNetwork:
    """A network that counts as pretrained."""
    tf.keras.utils.set_random_seed(0)
    return replace(build_for(recipe, BACKBONES["small_cnn"], "none"), pretrained=True)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network(digits: tuple[LabelledImages, LabelledImages]) -> None:
    brief = override(SHORT, ["epochs=1", "steps_per_epoch=4"])
    first, again, other = (train(digits, brief, seed)[1][0].loss for seed in (1, 1, 2))
    assert first == pytest.approx(again, rel=1e-4)
    assert first != pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_an_interruption_keeps_the_best_so_far(digits: tuple[LabelledImages, LabelledImages]) -> None:
    watched = Watched(interrupt_at_step=20)
    network, epochs = train(digits, watched=watched)
    assert watched.interrupted
    assert len(epochs) == 1
    assert map_at_r(network, digits[1]) == pytest.approx(epochs[0].map_at_r, abs=1e-6)


@pytest.mark.slow
def test_an_interruption_in_the_first_epoch_is_raised(
    digits: tuple[LabelledImages, LabelledImages],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(digits, watched=Watched(interrupt_at_step=3))
