"""The number of training steps, and the learning rate of each step."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.errors import LookalikeError
from trainer.recipes.components import Constant, Cosine, CosineRestarts, NoisyLinearCosine, RampUp, Steps
from trainer.recipes.recipe import AnySchedule, Recipe

Rates = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Timetable:
    """The maximum number of steps of a training."""

    head_steps: int  # steps of epoch 0, which trains the head alone; 0 if there is no such epoch
    steps_per_epoch: int  # steps of each epoch from 1 on
    epochs: int  # number of epochs, not counting epoch 0
    epochs_per_round: int  # epochs of each fine-tuning run; see `Recipe.rounds`

    @property
    def steps_per_round(self) -> int:
        """Steps of each fine-tuning run; the last one may be shorter."""
        return self.steps_per_epoch * self.epochs_per_round

    def begins_round(self, epoch: int) -> bool:
        """Whether the epoch is the first of the second or a later fine-tuning run."""
        return epoch > 1 and (epoch - 1) % self.epochs_per_round == 0

    def steps_until_end_of(self, epoch: int) -> int:
        """Return the number of steps from the start of training to the end of an epoch."""
        return self.head_steps + epoch * self.steps_per_epoch


def timetable(recipe: Recipe, photos: int, pretrained: bool) -> Timetable:
    """Return the timetable of a recipe for a number of training photos.

    Without a pretrained backbone, there is no epoch 0 and one fine-tuning run.
    """
    return Timetable(
        head_steps=recipe.head_first.steps if recipe.head_first and pretrained else 0,
        steps_per_epoch=recipe.steps_per_epoch or math.ceil(photos / recipe.sampling.batch_size),
        epochs=recipe.epochs,
        epochs_per_round=math.ceil(recipe.epochs / recipe.rounds) if pretrained else recipe.epochs,
    )


def learning_rates(schedule: AnySchedule, rate: float, steps: int, steps_per_epoch: int, seed: int) -> Rates:
    """Compute the learning rate of each step, float32 [steps].

    Args:
        rate: the base learning rate.
        seed: seed of the noise, for schedules that have noise.

    Raises:
        LookalikeError: `Steps` with boundaries that are not ascending, or not one factor more than boundaries.
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
    """Compute the learning rates of `head` and `backbone` for all epochs: each float32 [steps], NaN while frozen."""
    optimizer = recipe.optimizer

    def rates(rate: float, steps: int) -> Rates:
        return learning_rates(recipe.schedule, rate, steps, table.steps_per_epoch, seed)

    def of_rounds(rate: float) -> Rates:
        return np.resize(rates(rate, table.steps_per_round), table.epochs * table.steps_per_epoch)

    head = np.concatenate([rates(optimizer.fresh, table.head_steps), of_rounds(optimizer.fresh)])
    backbone = np.full_like(head, np.nan)
    if recipe.learns != "head":
        backbone[table.head_steps :] = of_rounds(optimizer.pretrained if pretrained else optimizer.fresh)
    return {"head": head, "backbone": backbone}


class PrecomputedSchedule(tf.keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # it has no types
    """A Keras schedule from precomputed learning rates, float32 [steps]; later steps use the last rate."""

    def __init__(self, rates: Rates) -> None:
        self._rates = tf.constant(rates)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the learning rate of a step."""
        return tf.gather(self._rates, tf.minimum(tf.cast(step, tf.int32), len(self._rates) - 1))


def _cosine(config: Cosine, rate: float, steps: int) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    decay = max(1, (config.steps or steps) - config.warm_up)
    if config.warm_up == 0:
        return tf.keras.optimizers.schedules.CosineDecay(rate, decay)
    return tf.keras.optimizers.schedules.CosineDecay(0.0, decay, warmup_target=rate, warmup_steps=config.warm_up)


def _evaluated(schedule: tf.keras.optimizers.schedules.LearningRateSchedule, steps: int) -> Rates:
    rates = tf.function(lambda: tf.map_fn(schedule, tf.range(steps), fn_output_signature=tf.float32))
    return np.asarray(rates())


def _noisy_linear_cosine(config: NoisyLinearCosine, rate: float, step: npt.NDArray[np.int_], seed: int) -> Rates:
    step = np.minimum(step, config.steps)
    deviation = np.sqrt(config.variance / (1.0 + step) ** config.variance_decay)
    linear = 1 - step / config.steps + np.random.default_rng(seed).normal(size=len(step)) * deviation
    cosine = (1 + np.cos(np.pi * step / config.steps)) / 2
    return np.asarray(rate * (linear * cosine + config.floor), np.float32)


def _ramp_up(config: RampUp, rate: float, epoch: npt.NDArray[np.int_]) -> Rates:
    growing = config.start + (rate - config.start) * epoch / max(1, config.epochs)
    falling = config.minimum + (rate - config.minimum) * config.decay ** (epoch - config.epochs - config.sustained)
    after = np.where(epoch < config.epochs + config.sustained, rate, falling)
    return np.where(epoch < config.epochs, growing, after).astype(np.float32)


def _steps(config: Steps, rate: float, step: npt.NDArray[np.int_]) -> Rates:
    if len(config.factors) != len(config.boundaries) + 1 or list(config.boundaries) != sorted(config.boundaries):
        raise LookalikeError(
            f"A schedule of steps can't have the boundaries {config.boundaries} and the factors {config.factors}.",
            "Give ascending boundaries, and one factor more than boundaries.",
        )
    factors = np.array(config.factors)[np.searchsorted(config.boundaries, step, side="right")]
    return np.asarray(rate * factors * np.minimum(1, (step + 1) / max(1, config.warm_up)), np.float32)
