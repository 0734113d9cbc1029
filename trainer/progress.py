"""What a person sees while a network trains."""

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from retrieval.console import messages
from trainer.data import Say
from trainer.schedules import Timetable
from trainer.training import Epoch


class TrainingProgress:
    """A bar over all steps on standard error with the current loss, and a line for each epoch.

    Attributes:
        interrupted: whether the user ended training early.
    """

    def __init__(self, table: Timetable, say: Say) -> None:
        self.interrupted = False
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
        self._task = self._progress.add_task("training", total=table.taken(table.epochs))
        self._map_at_r: float | None = None

    def __enter__(self) -> "TrainingProgress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_resume(self, epoch: Epoch) -> None:
        """Training goes on after an epoch that was done before."""
        self._map_at_r = epoch.map_at_r
        self._progress.update(self._task, completed=self._table.taken(epoch.number))
        self._say(f"The unfinished training goes on after epoch {epoch.number}.")

    def on_step(self, loss: float) -> None:
        """One batch more."""
        measured = "" if self._map_at_r is None else f" · MAP@R {self._map_at_r:.3f}"
        self._progress.update(self._task, advance=1, description=f"loss {loss:.3f}{measured}")

    def on_interruption(self) -> None:
        """The user ends training early."""
        self.interrupted = True
        self._say("Interrupted: the best network so far is kept. Interrupt again to give it up.")

    def on_divergence(self, why: str) -> None:
        """Training went astray."""
        self._say(f"{why} What was kept before is what the bundle will hold.")

    def on_epoch(self, epoch: Epoch) -> None:
        """One epoch more."""
        self._map_at_r = epoch.map_at_r
        stage = "head only" if epoch.number == 0 else f"epoch {epoch.number:2}"
        self._say(
            f"{stage:9} · loss {epoch.loss:.3f} · validation loss {epoch.val_loss:.3f} MAP@R {epoch.map_at_r:.3f}"
            f" R@1 {epoch.recall_at_1:.3f} · {epoch.seconds:.0f} s"
        )
