"""The progress of a job on standard error, and its cancellation by Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from indexer.jobs import Job
from indexer.sources import list_sources
from retrieval.cancellation import CancellationToken
from retrieval.console import messages, say
from retrieval.errors import LookalikeError
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions

INTERRUPTED = 130  # the exit status of a command that the user stopped


@contextmanager
def progress_bar(
    sources: Sequence[str] = (), options: ListingOptions = DEFAULT_OPTIONS
) -> Iterator[Callable[[Job], None]]:
    """Show a progress bar on a terminal: counts, photos per second, time left; yield a function that updates it.

    The photos of the sources are counted meanwhile, on a thread.
    """
    bar = Progress(
        SpinnerColumn(),
        TextColumn("Indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} photos/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[notes]}", style="yellow"),
        console=messages,
        disable=not messages.is_terminal,
    )
    task = bar.add_task("index", total=None, rate=0.0, notes="")

    def show(job: Job) -> None:
        counts = f"{job.unchanged} unchanged, {job.failed} failed" if job.unchanged or job.failed else ""
        notes = ". ".join(filter(None, (counts, job.slowed_by)))
        bar.update(task, completed=job.seen, rate=job.images_per_second, notes=notes)

    def count() -> None:
        with suppress(LookalikeError, OSError):  # the job reports errors of its sources
            found = list_sources(sources, None, lambda *_: None, options=options)
            bar.update(task, total=sum(1 for _ in found))

    if messages.is_terminal and sources:
        threading.Thread(target=count, name="count", daemon=True).start()
    with bar:
        yield show


@contextmanager
def cancel_on_interrupt() -> Iterator[CancellationToken]:
    """Yield a token that the first Ctrl-C cancels; a second one ends the process as usual."""
    cancellation = CancellationToken()

    def cancel(number: int, frame: FrameType | None) -> None:
        cancellation.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("Stopping after the current batch; Ctrl-C again stops at once.", "yellow")

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield cancellation
    finally:
        signal.signal(signal.SIGINT, before)
