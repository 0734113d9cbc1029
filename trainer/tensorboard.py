"""TensorBoard logs."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from retrieval.errors import LookalikeError
from retrieval.photo_ref import display
from trainer.schedules import Rates, Timetable
from trainer.training import Epoch, TrainingCallback


class TensorBoardLog(TrainingCallback):
    """A training callback that logs the loss and learning rates of each step and the metrics of each epoch.

    The rates of `head` and `backbone` are float32 [steps], NaN while frozen. Raises `LookalikeError` if the folder is
    not writable.
    """

    def __init__(self, folder: Path, rates: dict[str, Rates], table: Timetable) -> None:
        self._rates, self._table = rates, table
        self._step = 0
        try:
            self._writer = tf.summary.create_file_writer(str(folder))
        except tf.errors.OpError:
            raise LookalikeError(
                f"TensorBoard logs can't be written to {display(folder)}.", "Name another folder."
            ) from None

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def on_resume(self, epoch: Epoch) -> None:
        """Continue counting steps after the last completed epoch."""
        self._step = self._table.steps_until_end_of(epoch.number)

    def on_step(self, loss: float) -> None:
        rates = {f"learning rate/{group}": float(values[self._step]) for group, values in self._rates.items()}
        self._write({"loss/step": loss} | {name: rate for name, rate in rates.items() if np.isfinite(rate)})
        self._step += 1

    def on_epoch(self, epoch: Epoch) -> None:
        self._write({"loss/training": epoch.loss, "loss/validation": epoch.val_loss})
        self._write({"validation/MAP@R": epoch.map_at_r, "validation/R@1": epoch.recall_at_1})
        self._writer.flush()

    def _write(self, values: dict[str, float]) -> None:
        with self._writer.as_default(step=self._step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
