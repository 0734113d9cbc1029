"""A job on Celery workers: batches go out as tasks, no more at a time than a bounded number, and are followed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import redis
from celery import Task
from celery.exceptions import TimeoutError as NotYet
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from indexer import tasks
from indexer.batch import BATCH, Failure, Outcome, batches
from indexer.crosscheck import CROSS_CHECK, CrossCheck
from indexer.engine import Engine
from retrieval.console import messages
from retrieval.errors import LookalikeError
from retrieval.photos import PhotoRef
from retrieval.settings import Settings

MOST_OUTSTANDING = 32
PATIENCE_SECONDS = 10.0

Answer = TypeVar("Answer")


class DistributedEngine(Engine):
    """Lets Celery workers do the work; they must reach the same files and the same index.

    Args:
        settings: names the Redis server.
        model: the model's id; a worker that has another refuses.

    Raises:
        LookalikeError: Redis can't be reached.
    """

    def __init__(self, settings: Settings, model: str) -> None:
        require_redis(settings)
        self._model = model

    def index(self, photos: Iterable[PhotoRef]) -> Iterator[Outcome]:
        """See `Engine.index`; what is still waiting when the caller gives up is revoked."""
        outstanding: deque[AsyncResult] = deque()
        try:
            for batch in batches(photos, BATCH):
                outstanding.append(self._send(tasks.index_batch, photos=[[photo.uri, photo.label] for photo in batch]))
                if len(outstanding) == MOST_OUTSTANDING:
                    yield from _outcomes(outstanding.popleft())
            while outstanding:
                yield from _outcomes(outstanding.popleft())
        finally:
            for result in outstanding:
                _errors_as_sentences(result.revoke)

    def remove_gone(self, sources: Sequence[str], *, urls: bool = False) -> int:
        """See `Engine.remove_gone`: done by one worker, which lists the sources itself."""
        return int(_answer(self._send(tasks.remove_gone, sources=list(sources), urls=urls))["removed"])

    def cross_check(self) -> CrossCheck | None:
        """See `Engine.cross_check`: done by one worker."""
        result = _answer(self._send(tasks.cross_check))["cross_check"]
        return CROSS_CHECK.validate_python(result) if result is not None else None

    def close(self) -> None:
        """See `Engine.close`."""
        tasks.app.close()

    def _send(self, task: Task, **content: Any) -> AsyncResult:
        message = {"version": tasks.MESSAGE_VERSION, "model": self._model, **content}
        return _errors_as_sentences(lambda: task.delay(message))


def require_redis(settings: Settings) -> None:
    """Raise a `LookalikeError` unless the Redis server of the settings answers."""
    url = settings.redis_url or tasks.DEFAULT_BROKER
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise _unreachable(error) from None


def count_workers() -> int:
    """How many workers answer within a second."""
    return len(_errors_as_sentences(lambda: tasks.app.control.ping(timeout=1.0)))


def _outcomes(result: AsyncResult) -> Iterator[Outcome]:
    for outcome in _answer(result)["outcomes"]:
        yield Outcome(**{**outcome, "failures": tuple(Failure(**failure) for failure in outcome["failures"])})


def _answer(result: AsyncResult) -> dict[str, Any]:
    """What a task answered; waits for it, however long it takes, and says so where no worker seems to be there."""
    while True:
        try:
            answer = _errors_as_sentences(lambda: result.get(timeout=PATIENCE_SECONDS, propagate=False))
            break
        except NotYet:
            _notice_absent_workers()
    _errors_as_sentences(result.forget)
    if isinstance(answer, Exception):
        raise LookalikeError(
            f"A worker gave up on a batch ({type(answer).__name__}: {answer}).",
            "Its log says why. What is indexed is kept; mend it and run the same command again.",
        )
    if "error" in answer:
        raise LookalikeError(answer["error"], answer["remedy"])
    return dict(answer)


def _notice_absent_workers() -> None:
    if not count_workers():
        messages.print("No worker answers. Start one with `lookalike worker`; the job waits for it.", style="yellow")


def _errors_as_sentences(request: Callable[[], Answer]) -> Answer:
    """The answer to a request; a sentence where Redis can't be reached."""
    try:
        return request()
    except (redis.RedisError, OperationalError) as error:
        raise _unreachable(error) from None


def _unreachable(error: Exception) -> LookalikeError:
    return LookalikeError(
        f"Redis can't be reached ({error}).",
        "Check LOOKALIKE_REDIS_URL, and that the server runs; then run the same command again.",
    )
