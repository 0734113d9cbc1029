"""The mean of several trainings that begin alike."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


class Soup(tf.Module):  # type: ignore[misc]  # it has no types
    """The mean of the weights of several trainings that begin with the same ones and differ by chance.

    It retrieves better than any of them, and costs no more to use than one: trainings from the same trained weights
    end in one basin of the loss, each near its rim, and their mean lies nearer to its floor (Wortsman et al., "Model
    soups: averaging weights of multiple fine-tuned models improves accuracy without increasing inference time", 2022).

    Args:
        variables: what is trained.
    """

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        super().__init__()
        self._variables = list(variables)
        self._start = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self._sum = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in variables]
        self._ended = tf.Variable(0.0, trainable=False)

    def begin(self) -> None:
        """What the variables hold now is what each training begins with."""
        for variable, start in zip(self._variables, self._start, strict=True):
            start.assign(variable)

    def begin_again(self) -> None:
        """A training has ended: what it came to is taken in, and the next begins."""
        self._ended.assign_add(1)
        for variable, start, total in zip(self._variables, self._start, self._sum, strict=True):
            total.assign_add(variable)
            variable.assign(start)

    @contextmanager
    def mixed(self) -> Iterator[None]:
        """Within a `with` statement the variables hold the mean of the trainings, the present one as far as it is."""
        if self._ended == 0:
            yield
            return
        present = [variable.numpy() for variable in self._variables]
        for variable, total in zip(self._variables, self._sum, strict=True):
            variable.assign((total + variable) / (self._ended + 1))
        try:
            yield
        finally:
            for variable, value in zip(self._variables, present, strict=True):
                variable.assign(value)
