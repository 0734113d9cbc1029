"""Model soup: the averaged weights of several fine-tuning runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


class Soup(tf.Module):  # type: ignore[misc]  # it has no types
    """Averages the weights of fine-tuning runs that start from the same weights.

    Runs from the same pretrained weights end in one basin of the loss, where their mean usually generalizes better
    than each of them at no additional inference cost (Wortsman et al., "Model soups: averaging weights of multiple
    fine-tuned models improves accuracy without increasing inference time", 2022).
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__()
        self._variables = list(variables)
        self._start = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self._sum = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self._ended = tf.Variable(0.0, trainable=False)

    def set_start(self) -> None:
        """Store the current weights as the start of each run."""
        for variable, start in zip(self._variables, self._start, strict=True):
            start.assign(variable)

    def start_next_run(self) -> None:
        """Add the weights of the current run to the average, and reset the variables to the start of the next run."""
        self._ended.assign_add(1)
        for variable, start, total in zip(self._variables, self._start, self._sum, strict=True):
            total.assign_add(variable)
            variable.assign(start)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the context, the variables hold the mean of all runs, including the current, unfinished one."""
        if self._ended == 0:
            yield
            return
        current = [variable.numpy() for variable in self._variables]
        for variable, total in zip(self._variables, self._sum, strict=True):
            variable.assign((total + variable) / (self._ended + 1))
        try:
            yield
        finally:
            for variable, value in zip(self._variables, current, strict=True):
                variable.assign(value)
