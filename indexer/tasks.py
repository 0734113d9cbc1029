"""The Celery tasks of a distributed job, and the worker process that runs them.

`celery -A indexer.tasks worker` or `lookalike worker` starts one. A task is a thin wrapper round `LocalExecutor`, so
that a worker does what `lookalike index` does by itself. Messages are JSON of a stated version; what became of a task,
the worker puts into the job's mailbox.

No batch is lost with its worker: it is acknowledged when its letter is in the mailbox, not before. A worker process
that dies leaves the batch to the next one at once; with a machine that dies, the batch is given to another one after
`LOOKALIKE_REDELIVERY_SECONDS`. A batch does not outrun that time: what a worker has not begun in a fifth of it, it
hands back.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property, wraps
from time import monotonic
from typing import Any, Literal

import redis
from celery import Celery, Task
from celery.signals import worker_process_shutdown, worker_shutting_down
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from indexer.batch import BatchResult
from indexer.crosscheck import save_cross_check
from indexer.executor import LocalExecutor
from indexer.result_queue import DEFAULT_URL, ResultQueue, connect, counted
from retrieval.bundle import Bundle, load_bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexBusy, IndexMismatch, IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.index import IndexStore, open_store
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings, load_settings

MESSAGE_VERSION = 2
QUEUE = "lookalike"
RETRIES = 8
LONGEST_PAUSE_SECONDS = 30
MOST_DELIVERIES = 3
OF_THE_REDELIVERY_TIME = 1 / 5  # what a worker may take for a batch, and how often it says that it still works
PHOTOS = TypeAdapter(list[PhotoRef])
BATCH_RESULT = TypeAdapter(BatchResult)

Letter = dict[str, Any]
logger = logging.getLogger(__name__)


class Message(BaseModel):
    """What every task is sent."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[2]
    model: str


class BatchMessage(Message):
    """The photos of a batch, and the batch's time."""

    photos: list[PhotoRef]
    time: str


class SourcesMessage(Message):
    """The sources of a job, and whether they may be URLs."""

    sources: list[str]
    urls: bool


def make_app(settings: Settings) -> Celery:
    """The Celery application on the settings' Redis: late acknowledgement, one batch at a time, JSON only."""
    made = Celery("lookalike", broker=settings.redis_url or DEFAULT_URL)
    made.conf.update(
        accept_content=["json"],
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": settings.redelivery_seconds},
        task_acks_late=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_prefetch_multiplier=1,
    )
    if settings.crosscheck_minutes is not None:
        seconds = 60 * settings.crosscheck_minutes
        made.conf.beat_schedule = {
            "cross-check": {
                "task": "lookalike.scheduled_cross_check",
                "schedule": seconds,
                "options": {"expires": seconds},
            }
        }
    return made


app = make_app(load_settings())


def run_worker(options: Sequence[str]) -> None:
    """Run a Celery worker in this process until it is asked to stop.

    Something in the queue that Celery itself can't read ends its worker, having left the queue; then it starts anew.
    """
    asked_to_stop = threading.Event()
    worker_shutting_down.connect(lambda **_: asked_to_stop.set(), weak=False)
    app.worker_main(
        ["worker", "--hostname", f"worker-{os.getpid()}@%h", "--without-gossip", "--without-mingle", *options]
    )
    if not asked_to_stop.is_set():
        logger.warning("The worker ended by itself, and starts again.")
        os.execv(sys.executable, sys.orig_argv)


class WorkerContext:
    """What a worker process works with: made for the first task, after the fork, and kept for the next ones."""

    def __init__(self) -> None:
        self._executor: LocalExecutor | None = None
        self._model: str | None = None

    @cached_property
    def redis(self) -> "redis.Redis":
        """The client of the Redis server."""
        return connect(load_settings())

    @cached_property
    def store(self) -> IndexStore:
        """The indexes."""
        return open_store(load_settings())

    def executor(self, model: str) -> LocalExecutor:
        """The executor for a model.

        Raises:
            IndexMismatch: the worker has been given another model, or does not have this one.
            IndexBusy: another process holds the index.
        """
        if self._executor is None or self._model != model:
            self.close()
            settings = load_settings()
            self._executor = LocalExecutor.open(settings, self.store, _bundle_of(settings, model))
            self._model = model
        return self._executor

    def close(self) -> None:
        """Let go of index and threads."""
        if self._executor is not None:
            self._executor.close()
        self._executor = self._model = None


worker_context = WorkerContext()
worker_process_shutdown.connect(lambda **_: worker_context.close(), weak=False)


Work = Callable[[Task, LocalExecutor, Any], Letter]


def _task(kind: type[Message], **options: Any) -> Callable[[Work], Task]:
    """Makes the task round a piece of work: checks the message, and puts a letter with what became of it into the box.

    What another attempt may mend (an index that is busy, full or out of reach) is tried again, ever less often.
    """

    def decorate(work: Work) -> Task:
        @app.task(name=f"lookalike.{work.__name__}", bind=True, **options)  # type: ignore[untyped-decorator]
        @wraps(work)
        def task(self: Task, content: object) -> None:
            try:
                message = _checked(kind, content)
                letter = work(self, worker_context.executor(message.model), message)
            except (IndexBusy, IndexUnreachable, IndexWriteFailed) as error:
                if self.request.retries < RETRIES:
                    raise self.retry(countdown=_pause(self.request.retries), max_retries=RETRIES) from None
                letter = _refusal(error)
            except LookalikeError as error:
                letter = _refusal(error)
            except Exception as error:
                logger.exception("The task %s failed.", self.request.id)
                letter = _refusal(_gave_up(error))
            ResultQueue(worker_context.redis, self.request.reply_to).put({"task": self.request.id, **letter})

        return task

    return decorate


@_task(BatchMessage)
def index_batch(task: Task, executor: LocalExecutor, message: BatchMessage) -> Letter:
    """Index the photos of a batch; a batch that ended several workers is given back untouched."""
    until = monotonic() + OF_THE_REDELIVERY_TIME * load_settings().redelivery_seconds
    with counted(worker_context.redis, task.request.id) as deliveries:
        if deliveries > MOST_DELIVERIES:
            return {"lost": True}
        return {"outcome": BATCH_RESULT.dump_python(executor.index_batch(message.photos, message.time, until))}


@_task(SourcesMessage, acks_late=False)
def remove_gone(task: Task, executor: LocalExecutor, message: SourcesMessage) -> Letter:
    """Remove the points of the message's sources whose photo is gone."""
    with _signs_of_life(task):
        return {"removed": executor.remove_gone(message.sources, CancellationToken(), urls=message.urls)}


@_task(Message, acks_late=False)
def cross_check(task: Task, executor: LocalExecutor, message: Message) -> Letter:
    """Compare the index of the message's model with exact neighbours."""
    with _signs_of_life(task):
        result = executor.cross_check(CancellationToken())
    return {"cross_check": asdict(result) if result is not None else None}


@app.task(name="lookalike.scheduled_cross_check", acks_late=False)  # type: ignore[untyped-decorator]
def scheduled_cross_check() -> None:
    """Cross-check the index of the model that serves, and keep the result where `/readyz` and `/metrics` find it."""
    settings = load_settings()
    try:
        executor = worker_context.executor(bundle_in_use(settings, worker_context.store).model_id)
        result = executor.cross_check(CancellationToken())
        if result is not None:
            save_cross_check(settings, result)
    except LookalikeError as error:
        logger.warning("The scheduled cross-check could not be made: %s", error)
        return
    if result is not None and not result.passed:
        logger.error("The scheduled cross-check failed. %s", result.summary())


@contextmanager
def _signs_of_life(task: Task) -> Iterator[None]:
    """Tells the job now and then that a long task is still worked on.

    Such a task is acknowledged before it begins: it may outrun any time after which Redis would give it to another.
    """
    ended = threading.Event()
    pause = OF_THE_REDELIVERY_TIME * load_settings().redelivery_seconds
    box = ResultQueue(worker_context.redis, task.request.reply_to)
    name = task.request.id

    def tell() -> None:
        while not ended.wait(pause):
            with suppress(LookalikeError):
                box.put({"task": name, "working": True})

    thread = threading.Thread(target=tell, name="signs of life")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _checked(kind: type[Message], content: object) -> Any:
    """The message; raises `LookalikeError` where another version, or nobody of ours, wrote it."""
    version = content.get("version") if isinstance(content, dict) else None
    if version != MESSAGE_VERSION:
        raise LookalikeError(
            f"The worker was sent a message of version {version}; it understands version {MESSAGE_VERSION}.",
            "Run the same version of Lookalike everywhere.",
        )
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise LookalikeError(
            f"The worker was sent a damaged message ({error.errors()[0]['msg']}).",
            "Run the same version of Lookalike everywhere.",
        ) from None


def _bundle_of(settings: Settings, model: str) -> Bundle:
    """The worker's bundle: the one it was given by `LOOKALIKE_BUNDLE`, otherwise the installed one of that name."""
    bundle = load_bundle(settings.bundle or settings.models_folder / model)
    if bundle.model_id != model:
        raise IndexMismatch(
            f"The worker has the model {bundle.model_id}, and the job needs {model}.",
            "Start it with the job's bundle in LOOKALIKE_BUNDLE.",
        )
    return bundle


def _pause(retries: int) -> float:
    """The seconds before the next attempt; a task that waits as long as the redelivery time is given out twice."""
    return min(2.0**retries, LONGEST_PAUSE_SECONDS, load_settings().redelivery_seconds / 2)


def _gave_up(error: Exception) -> LookalikeError:
    return LookalikeError(
        f"A worker gave up on a batch ({type(error).__name__}: {error}).",
        "Its log says why. What is indexed is kept; mend it and run the same command again.",
    )


def _refusal(error: LookalikeError) -> Letter:
    return {"error": error.message, "remedy": error.remedy}
