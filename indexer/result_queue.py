"""What a job and its workers tell each other in Redis, beside the tasks that Celery carries."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
from kombu.exceptions import OperationalError
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from retrieval.closing import Closing
from retrieval.errors import LookalikeError
from retrieval.settings import Settings

DEFAULT_URL = "redis://127.0.0.1:6379/0"
TIMEOUT_SECONDS = 5
ATTEMPTS = 10  # with growing pauses, about half a minute: Redis restarts in less
PAUSES = ExponentialBackoff(cap=5, base=0.1)
PASSING = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)  # the last: full, loading, a replica yet
KEPT_SECONDS = 24 * 3600  # what nobody fetched

Answer = TypeVar("Answer")


class ResultQueue(Closing):
    """The letters of workers to one job, a list in Redis; each is a JSON object that names its task.

    Args:
        client: of the Redis server, see `connect`.
        name: the box.
    """

    def __init__(self, client: "redis.Redis", name: str) -> None:
        self.name = name
        self._redis = client

    def put(self, letter: Mapping[str, Any]) -> None:
        """Put a letter in."""
        with self._redis.pipeline() as pipeline:
            pipeline.rpush(self.name, json.dumps(letter))
            pipeline.expire(self.name, KEPT_SECONDS)
            errors_as_sentences(pipeline.execute)

    def take(self, seconds: float) -> dict[str, Any] | None:
        """The oldest letter; None where none comes for so long."""
        found: Any = errors_as_sentences(lambda: self._redis.blpop([self.name], timeout=seconds))
        letter: dict[str, Any] | None = json.loads(found[1]) if found else None
        return letter

    def close(self) -> None:
        """Throw the box away."""
        errors_as_sentences(lambda: self._redis.delete(self.name))


@contextmanager
def counted(client: "redis.Redis", task: str) -> Iterator[int]:
    """Counts how often a task was begun and never ended, this time included, because its worker died."""
    key = f"lookalike:begun:{task}"
    with client.pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, KEPT_SECONDS)
        begun = errors_as_sentences(pipeline.execute)[0]
    try:
        yield int(begun)
    finally:
        errors_as_sentences(lambda: client.delete(key))


def connect(settings: Settings, attempts: int = ATTEMPTS) -> "redis.Redis":
    """A client of the settings' server that asks again, ever less often, where the server is away or full."""
    return redis.Redis.from_url(
        settings.redis_url or DEFAULT_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(PAUSES, attempts),
        retry_on_error=list(PASSING),
    )


def patiently(request: Callable[[], Answer]) -> Answer:
    """The answer to a request that another library sends to Redis, with the same patience."""
    retry = Retry(PAUSES, ATTEMPTS, (*PASSING, OperationalError))
    return errors_as_sentences(lambda: retry.call_with_retry(request, lambda _: None))


def share(settings: Settings, name: str, content: bytes) -> None:
    """Keep something under a name for every machine that shares the Redis server."""
    with connect(settings) as client:
        errors_as_sentences(lambda: client.set(name, content))


def shared(settings: Settings, name: str) -> bytes | None:
    """What is kept under a name; None where there is nothing. One attempt: who asks can do without."""
    with connect(settings, attempts=0) as client:
        found: bytes | None = errors_as_sentences(lambda: client.get(name))
    return found


def require_redis(settings: Settings) -> None:
    """Raise a `LookalikeError` unless the Redis server of the settings answers now."""
    try:
        with connect(settings, attempts=0) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise unreachable(error) from None


def errors_as_sentences(request: Callable[[], Answer]) -> Answer:
    """The answer to a request; a sentence where Redis can't be reached or refuses."""
    try:
        return request()
    except (redis.RedisError, OperationalError) as error:
        raise unreachable(error) from None


def unreachable(error: Exception) -> LookalikeError:
    """What to tell of an error of Redis."""
    if "maxmemory" in str(error):
        return LookalikeError(
            "Redis is full: it takes no more batches.",
            "Raise its maxmemory, and keep maxmemory-policy noeviction; then run the same command again.",
        )
    return LookalikeError(
        f"Redis can't be reached ({error}).",
        "Check LOOKALIKE_REDIS_URL, and that the server runs; then run the same command again.",
    )
