"""The progress of a training, in the terminal and in a file."""

import json
import math
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from retrieval.console import messages
from retrieval.files import write_atomically
from trainer.data import Say
from trainer.schedules import Timetable
from trainer.training import Epoch, TrainingCallback

PERIOD_SECONDS = 1.0


class TrainingProgress(TrainingCallback):
    """A training callback that shows a progress bar with the current loss, and a line for each epoch."""

    def __init__(self, table: Timetable, say: Say) -> None:
        self.interrupted = False  # by the user
        self._table = table
        self._say = say
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
        )
        self._task = self._progress.add_task("training", total=table.steps_until_end_of(table.epochs))
        self._map_at_r: float | None = None

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_resume(self, epoch: Epoch) -> None:
        """Move the bar to the end of the last completed epoch."""
        self._map_at_r = epoch.map_at_r
        self._progress.update(self._task, completed=self._table.steps_until_end_of(epoch.number))
        self._say(f"Resuming the unfinished training after epoch {epoch.number}.")

    def on_step(self, loss: float) -> None:
        measured = "" if self._map_at_r is None else f" · MAP@R {self._map_at_r:.3f}"
        self._progress.update(self._task, advance=1, description=f"loss {loss:.3f}{measured}")

    def on_interruption(self) -> None:
        self.interrupted = True
        self._say("Interrupted: the best weights so far are kept. Interrupt again to discard them.")

    def on_divergence(self, why: str) -> None:
        self._say(f"{why} The bundle will contain the weights kept before.")

    def on_epoch(self, epoch: Epoch) -> None:
        self._map_at_r = epoch.map_at_r
        stage = "head only" if epoch.number == 0 else f"epoch {epoch.number:2}"
        self._say(
            f"{stage:9} · loss {epoch.loss:.3f} · validation loss {epoch.val_loss:.3f} MAP@R {epoch.map_at_r:.3f}"
            f" R@1 {epoch.recall_at_1:.3f} · {epoch.seconds:.0f} s"
        )


class ProgressFile(TrainingCallback):
    """A training callback that writes the progress to a JSON file, at most once a second.

    The file has `epoch` (the current one), `epochs` and `steps` (the maximum), `step` (completed steps) and `map_at_r`
    (on the validation photos, null before the end of an epoch).
    """

    def __init__(self, file: Path, table: Timetable) -> None:
        self._file, self._table = file, table
        self._step = 0
        self._map_at_r: float | None = None
        self._written = 0.0

    def on_resume(self, epoch: Epoch) -> None:
        """Continue after the last completed epoch."""
        self._step = self._table.steps_until_end_of(epoch.number)

    def on_step(self, loss: float) -> None:
        self._step += 1
        if time.monotonic() - self._written >= PERIOD_SECONDS:
            self._write()

    def on_epoch(self, epoch: Epoch) -> None:
        self._map_at_r = epoch.map_at_r
        self._write()

    def _write(self) -> None:
        table = self._table
        after_head = max(0, self._step - table.head_steps)
        progress = {
            "epoch": min(table.epochs, math.ceil(after_head / table.steps_per_epoch)),
            "epochs": table.epochs,
            "step": self._step,
            "steps": table.steps_until_end_of(table.epochs),
            "map_at_r": self._map_at_r,
        }
        write_atomically(self._file, json.dumps(progress))
        self._written = time.monotonic()
