"""The Celery tasks of distributed jobs, and the worker process that runs them.

`lookalike worker` or `celery -A indexer.tasks worker` starts a worker. Each task calls `LocalExecutor`, so a worker
does what `lookalike index` does in its own process, and reports to the job's result queue. `lookalike worker --queue
train` runs only trainings (`indexer.train_queue`).

A batch is acknowledged after its result message was sent. If a worker process dies, the batch is redelivered at once.
If a worker or a machine dies, its heartbeats stop, and the job sends the batch again (`indexer.outstanding`); without
the job, it would be redelivered after `LOOKALIKE_REDELIVERY_SECONDS`. A batch must not take longer than that: photos
that a worker has not started after a fifth of that time are returned to the job as unprocessed.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from celery import Task
from celery.signals import worker_shutting_down

from indexer.celery_app import QUEUE, SCHEDULED_CROSS_CHECK, SCHEDULED_SYNC, TRAIN_QUEUE, TRAINER, make_app
from indexer.crosscheck import save_cross_check
from indexer.executor import LocalExecutor
from indexer.messages import (
    HEARTBEAT_SECONDS,
    MAX_CRASHES,
    BatchMessage,
    CrossCheckMessage,
    RemovalMessage,
    ResultMessage,
    SourcesMessage,
    TaskMessage,
    TrainMessage,
)
from indexer.result_queue import ResultQueue, delivery_count
from indexer.scheduled_sync import run_on_worker
from indexer.train_process import train_on_index
from indexer.train_queue import cancellation_of
from indexer.worker_context import worker_context
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexBusy, IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.listing_options import ListingOptions
from retrieval.settings import load_settings

MAX_RETRIES = 8
MAX_RETRY_SECONDS = 30
RETRIED_ERRORS = (IndexBusy, IndexUnreachable, IndexWriteFailed)
TIME_SHARE = 1 / 5  # of the redelivery time: the limit for a batch

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # otherwise the log of a worker has a line for each request
app = make_app(load_settings)

Work = Callable[[Task, Any], ResultMessage]


def run_worker(options: Sequence[str], *, trains: bool = False) -> None:
    """Run a Celery worker in this process until it receives a signal to stop; `trains` for the queue of trainings.

    A message that Celery itself can't decode ends its worker, after it has left the queue; the process then restarts.
    """
    stopping = threading.Event()
    worker_shutting_down.connect(lambda **_: stopping.set(), weak=False)
    queue, kind = (TRAIN_QUEUE, TRAINER) if trains else (QUEUE, "worker-")
    names = ["--queues", queue, "--hostname", f"{kind}{os.getpid()}@%h"]
    app.worker_main(["worker", *names, "--without-gossip", "--without-mingle", *options])
    if not stopping.is_set():
        logger.warning("The worker ended unexpectedly, and restarts.")
        os.execv(sys.executable, sys.orig_argv)


def _task(kind: type[TaskMessage], *, long: bool = False) -> Callable[[Work], Task]:
    """Register a function as the task of a kind of message: validate the message, and report the result to the job.

    Errors that may pass (the index is busy, full or unreachable) are retried with growing pauses. Meanwhile the worker
    regularly reports that it works on the task. A long task may take longer than the redelivery time, so it is
    acknowledged before it starts.
    """

    def register(work: Work) -> Task:
        def run(task: Task, content: object) -> None:
            results = ResultQueue(worker_context().redis, task.request.reply_to)
            with _heartbeat(results, task.request.id):
                result = _run(work, task, kind, content)
            if isinstance(result, _Retry):
                with suppress(LookalikeError):
                    results.put(ResultMessage(task=task.request.id, in_progress=True, pause=result.seconds))
                raise task.retry(countdown=result.seconds, max_retries=MAX_RETRIES)
            results.put(result)

        registered: Task = app.task(name=kind.task_name, bind=True, acks_late=not long)(run)
        return registered

    return register


@dataclass(frozen=True, slots=True)
class _Retry:
    """A task is to be tried again after a pause."""

    seconds: float


def _run(work: Work, task: Task, kind: type[TaskMessage], content: object) -> ResultMessage | _Retry:
    """Run a task and return its result."""
    try:
        message = kind.received(content)
        return work(task, message)
    except LookalikeError as error:
        if isinstance(error, RETRIED_ERRORS) and task.request.retries < MAX_RETRIES:
            return _Retry(_pause(task.request.retries))
        return ResultMessage(task=task.request.id, error=error.message, remedy=error.remedy)
    except Exception as error:
        logger.exception("The task %s failed.", task.request.id)
        return ResultMessage(
            task=task.request.id,
            error=f"A batch failed on a worker ({type(error).__name__}: {error}).",
            remedy="Its log says why. Indexed photos are kept; fix the cause and run the same command again.",
        )


@_task(BatchMessage)
def index_batch(task: Task, message: BatchMessage) -> ResultMessage:
    """Index a batch of photos, unless it has crashed several workers."""
    executor = _executor(message)
    with delivery_count(worker_context().redis, task.request.id) as deliveries:
        if deliveries > MAX_CRASHES:
            return ResultMessage(task=task.request.id, crashed=True)
        result = executor.index_batch(message.photos, message.time, _time_share(), message.columns)
        return ResultMessage(task=task.request.id, batch=result)


@_task(RemovalMessage, long=True)
def remove_gone(task: Task, message: RemovalMessage) -> ResultMessage:
    """Remove the points of the message's sources whose photo is gone."""
    executor = _executor(message)
    policy = worker_context().settings.source_policy(allow_urls=message.urls)
    options = ListingOptions(message.include_hidden, tuple(message.exclude), worker_context().settings.home)
    removal = executor.remove_gone(message.sources, policy, options, message.limits, CancellationToken())
    return ResultMessage(task=task.request.id, removal=removal, slowed_by=executor.slowed_by())


@_task(SourcesMessage)
def record_sources(task: Task, message: SourcesMessage) -> ResultMessage:
    """Save what sources are."""
    executor = _executor(message)
    executor.record_sources(message.records, CancellationToken(), keep_mounts=message.keep_mounts)
    return ResultMessage(task=task.request.id, slowed_by=executor.slowed_by())


@_task(CrossCheckMessage, long=True)
def cross_check(task: Task, message: CrossCheckMessage) -> ResultMessage:
    """Calibrate scores on the index if the bundle has no calibration data, and compare it with exact neighbours."""
    executor = _executor(message)
    executor.calibrate()
    result = executor.cross_check(CancellationToken())
    return ResultMessage(task=task.request.id, cross_check=result, slowed_by=executor.slowed_by())


@_task(TrainMessage, long=True)
def train(task: Task, message: TrainMessage) -> ResultMessage:
    """Train on the photos of the index, and write the bundle to the folder of a job; reports what it does."""
    context = worker_context()
    folder = context.settings.jobs_folder / message.job
    if not folder.is_dir():
        raise LookalikeError(
            f"The worker that trains has no folder {folder}.",
            "It needs the LOOKALIKE_HOME of the server, on a file system that both share.",
        )
    results = ResultQueue(context.redis, task.request.reply_to)
    said = ""

    def report(step: str) -> None:
        nonlocal said
        if step != said:
            said = step
            with suppress(LookalikeError):
                results.put(ResultMessage(task=task.request.id, in_progress=True, step=step))

    train_on_index(context.settings, message.training, folder, cancellation_of(context.redis, results.name), report)
    return ResultMessage(task=task.request.id)


@app.task(name=SCHEDULED_CROSS_CHECK, acks_late=False)  # type: ignore[untyped-decorator]
def scheduled_cross_check() -> None:
    """Cross-check the index of the current model, and save the result for `/readyz` and `/metrics`."""
    context = worker_context()
    try:
        executor = context.executor(bundle_in_use(context.settings, context.store).model_id)
        result = executor.cross_check(CancellationToken())
        if result is not None:
            save_cross_check(context.settings, result)
    except LookalikeError as error:
        logger.warning("The scheduled cross-check was not possible: %s", error)
        return
    if result is not None and not result.passed:
        logger.error("The scheduled cross-check failed. %s", result.summary())


@app.task(name=SCHEDULED_SYNC, acks_late=False)  # type: ignore[untyped-decorator]
def scheduled_sync() -> None:
    """Start the scheduled sync on a thread of this worker, which its batches need, too."""
    context = worker_context()
    threading.Thread(target=run_on_worker, args=[context.settings, context.store], name="sync", daemon=True).start()


def _executor(message: TaskMessage) -> LocalExecutor:
    return worker_context().executor(message.model)


@contextmanager
def _heartbeat(results: ResultQueue, task: str) -> Iterator[None]:
    """Report at once, and then regularly, that a task is in progress."""
    ended = threading.Event()

    def report() -> None:
        while True:
            with suppress(LookalikeError):
                results.put(ResultMessage(task=task, in_progress=True))
            if ended.wait(HEARTBEAT_SECONDS):
                return

    thread = threading.Thread(target=report, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _time_share() -> float:
    return TIME_SHARE * worker_context().settings.redelivery_seconds


def _pause(retries: int) -> float:
    """Return the seconds before the next attempt; a task that waits for the redelivery time would run twice."""
    return min(2.0**retries, MAX_RETRY_SECONDS, worker_context().settings.redelivery_seconds / 2)
