"""How long training takes, and its learning rates, step by step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.errors import LookalikeError
from trainer.recipes.components import Constant, Cosine, CosineRestarts, NoisyLinearCosine, RampUp, Steps
from trainer.recipes.recipe import AnySchedule, Recipe

Rates = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Timetable:
    """How many steps a training takes at most.

    Attributes:
        head_alone: steps that train the head on features of the frozen backbone; 0 where it rests never.
        steps_per_epoch: steps of each epoch after that.
        epochs: how many.
        epochs_per_round: after so many, the network goes back to where the first of them began.
    """

    head_alone: int
    steps_per_epoch: int
    epochs: int
    epochs_per_round: int

    @property
    def steps_per_round(self) -> int:
        """Steps of each round but the last, which may be shorter."""
        return self.steps_per_epoch * self.epochs_per_round

    def begins_round(self, epoch: int) -> bool:
        """Whether the network goes back before that epoch."""
        return epoch > 1 and (epoch - 1) % self.epochs_per_round == 0

    def taken(self, epoch: int) -> int:
        """Steps until the end of an epoch; epoch 0 is the head's own."""
        return self.head_alone + epoch * self.steps_per_epoch


def timetable(recipe: Recipe, photos: int, pretrained: bool) -> Timetable:
    """The timetable of a recipe.

    Args:
        recipe: how the network is trained.
        photos: how many it learns from.
        pretrained: whether its backbone starts with trained weights, so that the head may be trained alone first, and
            the mean of several rounds makes sense.
    """
    return Timetable(
        head_alone=recipe.head_first.steps if recipe.head_first and pretrained else 0,
        steps_per_epoch=recipe.steps_per_epoch or math.ceil(photos / recipe.sampling.batch_size),
        epochs=recipe.epochs,
        epochs_per_round=math.ceil(recipe.epochs / recipe.rounds) if pretrained else recipe.epochs,
    )


def learning_rates(schedule: AnySchedule, rate: float, steps: int, steps_per_epoch: int, seed: int) -> Rates:
    """The learning rate of each step of a run.

    Args:
        schedule: how it changes.
        rate: the optimizer's.
        steps: how many the run has.
        steps_per_epoch: how many make an epoch.
        seed: of a schedule's noise.

    Returns:
        float32 [steps].

    Raises:
        LookalikeError: the schedule's numbers do not fit together.
    """
    match schedule:
        case Constant():
            return np.asarray(rate * np.minimum(1, (np.arange(steps) + 1) / max(1, schedule.warm_up)), np.float32)
        case Cosine():
            return _evaluated(_cosine(schedule, rate, steps), steps)
        case CosineRestarts():
            return _evaluated(tf.keras.optimizers.schedules.CosineDecayRestarts(rate, schedule.steps), steps)
        case NoisyLinearCosine():
            return _noisy_linear_cosine(schedule, rate, np.arange(steps), seed)
        case RampUp():
            return _ramp_up(schedule, rate, np.arange(steps) // steps_per_epoch)
        case Steps():
            return _steps(schedule, rate, np.arange(steps))


def planned_learning_rates(recipe: Recipe, table: Timetable, pretrained: bool, seed: int) -> dict[str, Rates]:
    """The learning rates of head and backbone at each step, if training takes all epochs of its recipe.

    Returns:
        `head` and `backbone`, each float32 [steps]; NaN while it rests.
    """
    how, alone = recipe.optimizer, table.head_alone

    def rates(rate: float, steps: int) -> Rates:
        return learning_rates(recipe.schedule, rate, steps, table.steps_per_epoch, seed)

    def of_rounds(rate: float) -> Rates:
        return np.resize(rates(rate, table.steps_per_round), table.taken(table.epochs) - alone)

    body = of_rounds(how.pretrained if pretrained else how.fresh)
    rests = np.full(alone + (len(body) if recipe.learns == "head" else 0), np.nan, np.float32)
    return {
        "head": np.concatenate([rates(how.fresh, alone), of_rounds(how.fresh)]),
        "backbone": rests if recipe.learns == "head" else np.concatenate([rests, body]),
    }


class Planned(tf.keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # it has no types
    """Learning rates that are known for each step; past the last one, that stays."""

    def __init__(self, rates: Rates) -> None:
        self._rates = tf.constant(rates)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step."""
        return tf.gather(self._rates, tf.minimum(tf.cast(step, tf.int32), len(self._rates) - 1))

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to write it down."""
        return {"rates": self._rates.numpy().tolist()}


def _cosine(how: Cosine, rate: float, steps: int) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    decay = max(1, (how.steps or steps) - how.warm_up)
    if how.warm_up == 0:
        return tf.keras.optimizers.schedules.CosineDecay(rate, decay)
    return tf.keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=rate, warmup_steps=how.warm_up)


def _evaluated(schedule: tf.keras.optimizers.schedules.LearningRateSchedule, steps: int) -> Rates:
    rates = tf.function(lambda: tf.map_fn(schedule, tf.range(steps), fn_output_signature=tf.float32))
    return np.asarray(rates())


def _noisy_linear_cosine(how: NoisyLinearCosine, rate: float, step: npt.NDArray[np.int_], seed: int) -> Rates:
    step = np.minimum(step, how.steps)
    deviation = np.sqrt(how.variance / (1.0 + step) ** how.variance_decay)
    linear = 1 - step / how.steps + np.random.default_rng(seed).normal(size=len(step)) * deviation
    cosine = (1 + np.cos(np.pi * step / how.steps)) / 2
    return np.asarray(rate * (linear * cosine + how.floor), np.float32)


def _ramp_up(how: RampUp, rate: float, epoch: npt.NDArray[np.int_]) -> Rates:
    growing = how.start + (rate - how.start) * epoch / max(1, how.epochs)
    falling = how.minimum + (rate - how.minimum) * how.decay ** (epoch - how.epochs - how.sustained)
    after = np.where(epoch < how.epochs + how.sustained, rate, falling)
    return np.where(epoch < how.epochs, growing, after).astype(np.float32)


def _steps(how: Steps, rate: float, step: npt.NDArray[np.int_]) -> Rates:
    if len(how.factors) != len(how.boundaries) + 1 or list(how.boundaries) != sorted(how.boundaries):
        raise LookalikeError(
            f"A schedule of steps can't have the boundaries {how.boundaries} and the factors {how.factors}.",
            "Give rising boundaries, and one factor more than boundaries.",
        )
    factors = np.array(how.factors)[np.searchsorted(how.boundaries, step, side="right")]
    return np.asarray(rate * factors * np.minimum(1, (step + 1) / max(1, how.warm_up)), np.float32)
