"""BiT-HyperRule: how its authors fine-tune Big Transfer (Kolesnikov et al., "Big Transfer (BiT)", 2020).

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
    """How long to train, in batches of 512, and when the rate falls tenfold."""

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
    """The rule: sizes by the photos' area; length, boundaries and MixUp by their number.

    Batches here are smaller than 512, so that steps are as many times more and the rate is as many times lower.
    """
    photo, crop = (160, 128) if facts.area <= LARGEST_SMALL_AREA else (512, 480)
    regime = next(regime for regime in REGIMES if facts.examples < regime.fewer_than)
    longer = OFFICIAL_BATCH // BATCH
    return replace(
        recipe,
        preparation=Preparation(resize="squash", size=crop, train_photo=photo, train_size=crop),
        mixup=regime.mixup,
        schedule=Steps(
            boundaries=tuple(longer * boundary for boundary in regime.boundaries),
            factors=(1.0, 0.1, 0.01, 0.001),
            warm_up=longer * WARM_UP,
        ),
        epochs=longer * regime.steps // STEPS_PER_EPOCH,
    )


BIT_HYPERRULE = _fit(
    Recipe(
        name="bit-hyperrule",
        description="BiT-HyperRule as its authors have it, chosen by the photos' size and number; semi-hard triplets",
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
