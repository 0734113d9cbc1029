"""Jobs on a thread of a server process."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
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

LOCK = "server.lock"  # in the folder of the jobs
PATIENCE_SECONDS = 1  # a job is recorded as ended shortly before its lock is released

logger = logging.getLogger(__name__)


class BackgroundJobs(Closing):
    """Runs jobs on a thread; follow and cancel them through `indexer.jobs`.

    All server processes of a home run one job at a time: each holds a lock on a file there while its job runs. The
    decoder is shared with other threads; without one, each job creates its own.
    """

    def __init__(self, settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> None:
        self._settings = settings
        self._store = store
        self._decoder = decoder
        self._closing = CancellationToken()
        self._thread: threading.Thread | None = None

    def start(self, request: IndexRequest) -> Job:
        """Start a job; return it once its sources, model and index have been opened.

        Raises:
            JobRunning: another job is running, in this or another server process.
            LookalikeError: the job can't start; see `run_job`.
        """
        started: Future[Job] = Future()
        running = self._lock()
        self._thread = threading.Thread(target=self._run, args=(request, started, running), name="job")
        self._thread.start()
        return started.result()

    def close(self) -> None:
        """Stop the running job after the current batch, and wait for its end."""
        self._closing.cancel()
        if self._thread is not None:
            self._thread.join()

    def _lock(self) -> FileLock:
        """Return the lock of the running job, acquired; the operating system releases that of a killed process."""
        folder = self._settings.jobs_folder
        with os_errors_as(LookalikeError, f"{folder} can't be written", "Correct its permissions, or free disk space."):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK, thread_local=False)
            try:
                lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=0.02)
            except Timeout:
                raise JobRunning("Another job is running.", "Wait for its end, or cancel it.") from None
        return lock

    def _run(self, request: IndexRequest, started: "Future[Job]", running: FileLock) -> None:
        def on_progress(job: Job) -> None:
            if not started.done():
                started.set_result(job.model_copy())

        runs: dict[Kind, Callable[..., object]] = {
            "index": partial(run_first_job if request.pretrained else run_job, decoder=self._decoder),
            "map": run_map,
            "review": run_review,
            "activate": run_activation,
            "train": partial(run_training, decoder=self._decoder),
        }
        try:
            runs[request.kind](self._settings, self._store, request, self._closing, on_progress)
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            elif not isinstance(error, LookalikeError):  # the job's record has those
                logger.exception("The job %s failed.", started.result().id)
        finally:
            running.release()
