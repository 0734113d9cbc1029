"""BiT-HyperRule: the fine-tuning rule of Big Transfer (Kolesnikov et al., "Big Transfer (BiT)", 2020).

https://github.com/google-research/big_transfer/blob/master/bit_hyperrule.py
"""

from dataclasses import replace
from typing import NamedTuple

from trainer.recipes.components import Balanced, CropAndFlip, Head, Preparation, Sgd, Steps, Stopping, TripletLoss
from trainer.recipes.recipe import Facts, Recipe

OFFICIAL_BATCH = 512
BATCH = 64
BASE_RATE = 0.003
WARM_UP = 100
LARGEST_SMALL_AREA = 96 * 96
STEPS_PER_EPOCH = 10


class Regime(NamedTuple):
    """Steps of training, and those at which the learning rate is divided by ten, for batches of 512 photos."""

    fewer_than: float
    steps: int
    boundaries: tuple[int, ...]
    mixup: float


REGIMES = (
    Regime(fewer_than=20_000, steps=500, boundaries=(200, 300, 400), mixup=0),
    Regime(fewer_than=500_000, steps=10_000, boundaries=(3_000, 6_000, 9_000), mixup=0.1),
    Regime(fewer_than=float("inf"), steps=20_000, boundaries=(6_000, 12_000, 18_000), mixup=0.1),
)


def _fit(recipe: Recipe, facts: Facts) -> Recipe:
    """Choose the sizes by the median area of the photos; steps, boundaries and MixUp by the number of photos.

    Batches are smaller than the authors' by a factor of 8, so steps are multiplied and learning rates divided by it.
    """
    photo, crop = (160, 128) if facts.area <= LARGEST_SMALL_AREA else (512, 480)
    regime = next(regime for regime in REGIMES if facts.examples < regime.fewer_than)
    scale = OFFICIAL_BATCH // BATCH
    return replace(
        recipe,
        preparation=Preparation(resize="squash", size=crop, train_photo=photo, train_size=crop),
        mixup=regime.mixup,
        schedule=Steps(
            boundaries=tuple(scale * boundary for boundary in regime.boundaries),
            factors=(1.0, 0.1, 0.01, 0.001),
            warm_up=scale * WARM_UP,
        ),
        epochs=scale * regime.steps // STEPS_PER_EPOCH,
    )


BIT_HYPERRULE = _fit(
    Recipe(
        name="bit-hyperrule",
        description="BiT-HyperRule as published, adapted to the size and number of photos; semi-hard triplets",
        augmentation=CropAndFlip(),
        sampling=Balanced(batch_size=BATCH),
        head=Head(dropout=0),
        loss=TripletLoss(proxies=0),
        optimizer=Sgd(pretrained=BASE_RATE * BATCH / OFFICIAL_BATCH, fresh=BASE_RATE * BATCH / OFFICIAL_BATCH),
        learns="all",
        head_first=None,
        steps_per_epoch=STEPS_PER_EPOCH,
        stopping=Stopping(patience=None, keep="last"),
        fit=_fit,
    ),
    Facts(examples=0, area=float("inf")),
)
