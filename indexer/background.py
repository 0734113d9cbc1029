"""Jobs on a thread of a server process."""

import logging
import threading
from concurrent.futures import Future
from functools import partial

from indexer.jobs import IndexRequest, Job
from indexer.map import run_map
from indexer.runner import run_job
from retrieval.cancellation import CancellationToken
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.errors import JobRunning, LookalikeError
from retrieval.index import IndexStore
from retrieval.settings import Settings

logger = logging.getLogger(__name__)


class BackgroundJobs(Closing):
    """Runs jobs on a thread, one at a time; follow and cancel them through `indexer.jobs`.

    The decoder is shared with other threads; without one, each job creates its own.
    """

    def __init__(self, settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> None:
        self._settings = settings
        self._store = store
        self._decoder = decoder
        self._starting = threading.Lock()
        self._closing = CancellationToken()
        self._thread: threading.Thread | None = None

    def start(self, request: IndexRequest) -> Job:
        """Start a job; return it once its sources, model and index have been opened.

        Raises:
            JobRunning: another job is running.
            LookalikeError: the job can't start; see `run_job`.
        """
        started: Future[Job] = Future()
        with self._starting:
            if self._thread is not None:
                self._thread.join(timeout=1)  # a job is recorded as ended shortly before its thread ends
                if self._thread.is_alive():
                    raise JobRunning("Another indexing job is running.", "Wait for its end, or cancel it.")
            self._thread = threading.Thread(target=self._run, args=(request, started), name="job")
            self._thread.start()
        return started.result()

    def close(self) -> None:
        """Stop the running job after the current batch, and wait for its end."""
        self._closing.cancel()
        if self._thread is not None:
            self._thread.join()

    def _run(self, request: IndexRequest, started: "Future[Job]") -> None:
        def on_progress(job: Job) -> None:
            if not started.done():
                started.set_result(job.model_copy())

        run = run_map if request.kind == "map" else partial(run_job, decoder=self._decoder)
        try:
            run(self._settings, self._store, request, self._closing, on_progress)
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            elif not isinstance(error, LookalikeError):  # the job's record has those
                logger.exception("The job %s failed.", started.result().id)
