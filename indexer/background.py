"""Jobs on a thread of a server process."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial

from filelock import FileLock, Timeout

from indexer.activation import run_activation
from indexer.first_model import run_first_job
from indexer.jobs import IndexRequest, Job, Kind
from indexer.map import run_map
from indexer.review.job import run_review
from indexer.runner import run_job
from indexer.training import run_training
from retrieval.cancellation import CancellationToken
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.errors import JobRunning, LookalikeError, os_errors_as
from retrieval.index import IndexStore
from retrieval.settings import Settings

LOCK, TRAINING_LOCK = "server.lock", "training.lock"  # in the folder of the jobs
REFUSALS = {LOCK: "Another job is running.", TRAINING_LOCK: "Another model is being trained."}
PATIENCE_SECONDS = 1  # a job is recorded as ended shortly before its lock is released

logger = logging.getLogger(__name__)


class BackgroundJobs(Closing):
    """Runs jobs on a thread; follow and cancel them through `indexer.jobs`.

    All server processes of a home run one job at a time: each holds a lock on a file there while its job runs. Beside
    it, one model is trained, until its photos are indexed. The decoder is shared with other threads; without one, each
    job creates its own.
    """

    def __init__(self, settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> None:
        self._settings = settings
        self._store = store
        self._decoder = decoder
        self._closing = CancellationToken()
        self._threads: set[threading.Thread] = set()

    def start(self, request: IndexRequest) -> Job:
        """Start a job; return it once its sources, model and index have been opened.

        Raises:
            JobRunning: another job, or training, is running, in this or another server process.
            LookalikeError: the job can't start; see `run_job`.
        """
        started: Future[Job] = Future()
        locks = ExitStack()
        self._lock(locks, TRAINING_LOCK if request.kind == "train" else LOCK)
        thread = threading.Thread(target=self._run, args=(request, started, locks), name="job")
        self._threads.add(thread)
        thread.start()
        return started.result()

    def close(self) -> None:
        """Stop the running jobs after the current batch, and wait for their end."""
        self._closing.cancel()
        for thread in [*self._threads]:
            thread.join()

    def _lock(self, locks: ExitStack, name: str) -> None:
        """Acquire a lock of the home; the operating system releases that of a killed process."""
        folder = self._settings.jobs_folder
        with os_errors_as(LookalikeError, f"{folder} can't be written", "Correct its permissions, or free disk space."):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / name, thread_local=False)
            try:
                lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=0.02)
            except Timeout:
                raise JobRunning(REFUSALS[name], "Wait for its end, or cancel it.") from None
        locks.callback(lock.release)

    def _wait_for_turn(self, locks: ExitStack, cancellation: CancellationToken) -> bool:
        """Acquire the lock of the running job once no other job runs; return False if cancelled before."""
        while not cancellation.cancelled:
            with suppress(JobRunning):
                self._lock(locks, LOCK)
                return True
        return False

    def _run(self, request: IndexRequest, started: "Future[Job]", locks: ExitStack) -> None:
        def on_progress(job: Job) -> None:
            if not started.done():
                started.set_result(job.model_copy())

        wait_for_turn = partial(self._wait_for_turn, locks)
        runs: dict[Kind, Callable[..., object]] = {
            "index": partial(run_first_job if request.pretrained else run_job, decoder=self._decoder),
            "map": run_map,
            "review": run_review,
            "activate": run_activation,
            "train": partial(run_training, decoder=self._decoder, wait_for_turn=wait_for_turn),
        }
        try:
            runs[request.kind](self._settings, self._store, request, self._closing, on_progress)
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            elif not isinstance(error, LookalikeError):  # the job's record has those
                logger.exception("The job %s failed.", started.result().id)
        finally:
            locks.close()
            self._threads.discard(threading.current_thread())
