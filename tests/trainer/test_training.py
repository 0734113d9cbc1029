"""Training for real, on a few of scikit-learn's digits: 8 × 8 pixels, four classes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits

from trainer.backbones import BACKBONES
from trainer.evaluation import evaluate_embeddings
from trainer.network import EmbeddingNetwork, build_network, embed
from trainer.recipes import RECIPES, Recipe
from trainer.training import Epoch, LabelledImages, train_network

SHORT = replace(RECIPES["default"], batch_size=24, epochs=2, steps_per_epoch=15)


class Watched:
    def __init__(self, interrupt_at_step: int | None = None) -> None:
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.interrupted = False
        self._interrupt_at_step = interrupt_at_step

    def on_step(self, loss: float) -> None:
        self.losses.append(loss)
        if len(self.losses) == self._interrupt_at_step:
            raise KeyboardInterrupt

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)

    def on_interruption(self) -> None:
        self.interrupted = True


@pytest.fixture(scope="module")
def digits() -> Iterator[tuple[LabelledImages, LabelledImages]]:
    images, labels = load_digits(n_class=4, return_X_y=True)
    grown = np.kron(images.reshape(-1, 8, 8) * (255 / 16), np.ones((4, 4))).astype(np.uint8)
    coloured = np.repeat(grown[..., None], 3, axis=3)
    names = labels.astype(str)
    yield LabelledImages(coloured[:200], names[:200]), LabelledImages(coloured[200:300], names[200:300])


def train(
    digits: tuple[LabelledImages, LabelledImages], recipe: Recipe = SHORT, seed: int = 0, watched: Watched | None = None
) -> tuple[EmbeddingNetwork, list[Epoch]]:
    tf.keras.utils.set_random_seed(seed)
    network = build_network(BACKBONES["small_cnn"], "none", 16, recipe.head)
    epochs = train_network(network, recipe, train=digits[0], val=digits[1], seed=seed, watcher=watched or Watched())
    return network, epochs


def map_at_r(network: EmbeddingNetwork, photos: LabelledImages) -> float:
    return evaluate_embeddings(embed(network.whole(), photos.images), photos.labels).overall["map_at_r"]


def test_it_learns_and_tells_how(digits: tuple[LabelledImages, LabelledImages]) -> None:
    watched = Watched()
    untrained = map_at_r(build_network(BACKBONES["small_cnn"], "none", 16, SHORT.head), digits[1])
    network, epochs = train(digits, watched=watched)
    assert map_at_r(network, digits[1]) > untrained + 0.15
    assert watched.epochs == epochs
    assert [epoch.number for epoch in epochs] == [1, 2]
    assert len(watched.losses) == 30
    assert epochs[0].loss == pytest.approx(np.mean(watched.losses[:15]))
    assert epochs[1].loss < epochs[0].loss


def test_the_weights_with_the_best_map_at_r_are_kept(digits: tuple[LabelledImages, LabelledImages]) -> None:
    wild = replace(SHORT, epochs=4, steps_per_epoch=6, optimizer=replace(SHORT.optimizer, fresh=0.1, warm_up=12))
    network, epochs = train(digits, wild)
    assert map_at_r(network, digits[1]) == pytest.approx(max(epoch.map_at_r for epoch in epochs), abs=1e-6)


def test_it_stops_when_nothing_gets_better(digits: tuple[LabelledImages, LabelledImages]) -> None:
    frozen = replace(SHORT, epochs=9, steps_per_epoch=1, patience=2, optimizer=replace(SHORT.optimizer, fresh=1e-12))
    _, epochs = train(digits, frozen)
    assert len(epochs) < 9


def test_the_same_seed_gives_the_same_network(digits: tuple[LabelledImages, LabelledImages]) -> None:
    brief = replace(SHORT, epochs=1, steps_per_epoch=4)
    first, again, other = (train(digits, brief, seed)[1][0].loss for seed in (1, 1, 2))
    assert first == pytest.approx(again, rel=1e-4)
    assert first != pytest.approx(other, rel=1e-4)


def test_an_interruption_keeps_the_best_so_far(digits: tuple[LabelledImages, LabelledImages]) -> None:
    watched = Watched(interrupt_at_step=20)
    network, epochs = train(digits, watched=watched)
    assert watched.interrupted
    assert len(epochs) == 1
    assert map_at_r(network, digits[1]) == pytest.approx(epochs[0].map_at_r, abs=1e-6)


def test_an_interruption_before_anything_was_learnt_is_an_interruption(
    digits: tuple[LabelledImages, LabelledImages],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(digits, watched=Watched(interrupt_at_step=3))
