"""One optimization step: MixUp, loss, gradients, and an optimizer for each group of variables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from trainer.losses import Objective
from trainer.recipes.components import Adam, AdamW
from trainer.recipes.recipe import AnyOptimizer
from trainer.sampling import Indices
from trainer.schedules import PrecomputedSchedule, Rates

Forward = Callable[[tf.Tensor], tf.Tensor]  # inputs float32 [batch, …] → embeddings float32 [batch, d]


@dataclass(frozen=True)
class ParameterGroup:
    """Variables that are updated by one optimizer with its own learning rates."""

    variables: list[tf.Variable]
    optimizer: tf.keras.optimizers.Optimizer

    def reset_optimizer(self) -> None:
        """Set the state of the optimizer, including its number of steps, to zero."""
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))


def parameter_group(variables: list[tf.Variable], config: AnyOptimizer, rates: Rates) -> ParameterGroup:
    """Make the optimizer of a recipe for these variables; `rates` are its learning rates, float32 [steps]."""
    schedule = PrecomputedSchedule(rates)
    match config:
        case AdamW():
            optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
        case Adam():
            optimizer = tf.keras.optimizers.Adam(schedule)
        case _:
            optimizer = tf.keras.optimizers.SGD(schedule, momentum=config.momentum)
    optimizer.build(variables)
    return ParameterGroup(variables, optimizer)


class TrainingStep:
    """A compiled step that updates groups of variables by the gradient of the loss of a batch.

    With MixUp, each input is mixed with the one at the opposite position of the batch, and the loss is the mean of the
    losses for both labels with the same weights.
    """

    def __init__(self, forward: Forward, objective: Objective, groups: Sequence[ParameterGroup], mixup: bool) -> None:
        self._forward, self._objective, self._groups, self._mixup = forward, objective, groups, mixup
        self._compiled = tf.function(self._update, reduce_retracing=True)

    def __call__(self, inputs: tf.Tensor, labels: Indices, weight: float) -> float:
        """Take a step on inputs float32 [batch, …] with labels int32 [batch], and return the loss.

        `weight` is the weight of each input in its mixture, in 0…1; it is ignored without MixUp.
        """
        return float(self._compiled(inputs, labels, tf.constant(weight)))

    def _update(self, inputs: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self._loss(inputs, labels, weight)
        gradients = tape.gradient(loss, [group.variables for group in self._groups])
        for group, of_group in zip(self._groups, gradients, strict=True):
            group.optimizer.apply_gradients(list(zip(of_group, group.variables, strict=True)))
        return loss

    def _loss(self, inputs: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        if not self._mixup:
            return self._objective(labels, self._forward(inputs), training=True)
        embeddings = self._forward(weight * inputs + (1 - weight) * inputs[::-1])
        own, opposite = (self._objective(of, embeddings, training=True) for of in (labels, labels[::-1]))
        return weight * own + (1 - weight) * opposite
