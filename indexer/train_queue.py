"""Training on a worker that has TensorFlow: `lookalike worker --queue train`.

A job sends one task, and follows it in its result queue. The worker writes bundle and progress to the folder of the
job, in the home that it shares with the server. Unlike a batch, a training that was interrupted is not sent again,
since it may take hours: a person starts it again.
"""

from collections.abc import Callable
from contextlib import suppress
from secrets import token_hex
from time import monotonic
from typing import Any

import redis
from celery import Celery

from indexer.celery_app import TRAIN_QUEUE, make_app, trainer_answers
from indexer.jobs import JobRecord, TrainingOptions
from indexer.messages import TrainMessage
from indexer.redis_client import ERRORS, connect, retry
from indexer.result_queue import EXPIRES_SECONDS, ResultQueue
from indexer.train_process import BUNDLE
from retrieval.bundle import Bundle, load_bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError, WorkerLost
from retrieval.settings import Settings

POLL_SECONDS = 0.5
LOST_SECONDS = 30.0  # without a message of the other side, after which it counts as lost
MARK_SECONDS = 10  # after which a mark expires that the job does not renew
WANTED, ENDED = b"wanted", b"ended"  # what the mark of a training in Redis says
WAITING = "Waiting for a worker that trains …"


def has_trainer(settings: Settings) -> bool:
    """Return whether a worker of the queue answers; raises `LookalikeError` if Redis can't be reached."""
    with make_app(lambda: settings) as app:
        return trainer_answers(app)


def train_on_worker(
    settings: Settings,
    model: str,
    record: JobRecord,
    cancellation: CancellationToken,
    on_message: Callable[[str], None],
) -> Bundle | None:
    """Train on the photos of the index on a worker, like `indexer.train_process.train_on_index`.

    Args:
        model: the current one.
        record: of the job, which says how to train; its folder gets the bundle.

    Raises:
        WorkerLost: the worker is silent.
        LookalikeError: the training failed; its worker says why.
    """
    training = record.job.training or TrainingOptions()
    message = TrainMessage(model=model, job=record.job.id, training=training)
    with make_app(lambda: settings) as app, connect(settings) as client, _results(client) as results:
        if _follow(app, results, client, message, cancellation, on_message):
            return load_bundle(record.folder / BUNDLE)
    return None


def cancellation_of(client: "redis.Redis", queue: str) -> CancellationToken:
    """Return a token that is cancelled once the job with this result queue does not wait for its training any more."""
    seen = monotonic()

    def abandoned() -> bool:
        nonlocal seen
        mark: Any = None
        with suppress(*ERRORS):
            mark = client.get(_mark(queue))
        if mark == WANTED:
            seen = monotonic()
        return mark == ENDED or monotonic() - seen > LOST_SECONDS

    return CancellationToken(abandoned)


def _results(client: "redis.Redis") -> ResultQueue:
    return ResultQueue(client, f"lookalike:results:{token_hex(8)}")


def _follow(  # noqa: PLR0917 - both sides of the task
    app: Celery,
    results: ResultQueue,
    client: "redis.Redis",
    message: TrainMessage,
    cancellation: CancellationToken,
    on_message: Callable[[str], None],
) -> bool:
    """Send a task and wait for its end; return whether it was completed and not cancelled."""
    task, mark = token_hex(16), _mark(results.name)
    options = {"task_id": task, "reply_to": results.name, "ignore_result": True, "queue": TRAIN_QUEUE}
    said, heard, has_started = WAITING, monotonic(), False
    try:
        retry(lambda: client.set(mark, WANTED, ex=MARK_SECONDS))
        retry(lambda: app.send_task(message.task_name, [message.content()], **options))
        while not cancellation.cancelled:
            on_message(said)
            retry(lambda: client.set(mark, WANTED, ex=MARK_SECONDS))
            result = results.take(POLL_SECONDS)
            if result is None:
                if monotonic() - heard > LOST_SECONDS:
                    if has_started or not trainer_answers(app):
                        raise _lost()
                    heard = monotonic()
                continue
            heard, has_started = monotonic(), True
            if result.error is not None:
                raise LookalikeError(result.error, result.remedy)
            if not result.in_progress:
                return True
            said = result.step or ("" if said == WAITING else said)
        return False
    finally:
        with suppress(LookalikeError):
            retry(lambda: client.set(mark, ENDED, ex=EXPIRES_SECONDS))
            if not has_started:
                retry(lambda: app.control.revoke(task))


def _mark(queue: str) -> str:
    """The name of the key that tells a worker whether the job waits for its training."""
    return f"{queue}:mark"


def _lost() -> WorkerLost:
    return WorkerLost(
        f"The worker that trained has been silent for {LOST_SECONDS:.0f} seconds.",
        "Check its machine and its log, and start the training again.",
    )
