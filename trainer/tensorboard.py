"""Logs for TensorBoard."""

from pathlib import Path
from types import TracebackType

import numpy as np
import tensorflow as tf

from retrieval.errors import LookalikeError
from retrieval.photo_ref import display
from trainer.schedules import Rates, Timetable
from trainer.training import Epoch


class TensorBoardLog:
    """Loss and learning rates step by step, and what each epoch came to.

    Args:
        folder: where the log is written.
        rates: part of the network → its learning rate at each step; NaN while it rests.
        table: how steps make epochs.

    Raises:
        LookalikeError: the folder can't be written.
    """

    def __init__(self, folder: Path, rates: dict[str, Rates], table: Timetable) -> None:
        self._rates, self._table = rates, table
        self._step = 0
        try:
            self._writer = tf.summary.create_file_writer(str(folder))
        except tf.errors.OpError:
            raise LookalikeError(
                f"No logs for TensorBoard can be written to {display(folder)}.", "Name another folder."
            ) from None

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()

    def on_resume(self, epoch: Epoch) -> None:
        """Steps are counted from where the epoch ended."""
        self._step = self._table.taken(epoch.number)

    def on_step(self, loss: float) -> None:
        """Write a step's loss and learning rates."""
        rates = {f"learning rate/{part}": float(values[self._step]) for part, values in self._rates.items()}
        self._write({"loss/step": loss} | {name: rate for name, rate in rates.items() if np.isfinite(rate)})
        self._step += 1

    def on_epoch(self, epoch: Epoch) -> None:
        """Write what an epoch came to, at its last step."""
        self._write({"loss/training": epoch.loss, "loss/validation": epoch.val_loss})
        self._write({"validation/MAP@R": epoch.map_at_r, "validation/R@1": epoch.recall_at_1})
        self._writer.flush()

    def on_interruption(self) -> None:
        """Nothing to write."""

    def on_divergence(self, why: str) -> None:
        """Nothing to write."""

    def _write(self, values: dict[str, float]) -> None:
        with self._writer.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
