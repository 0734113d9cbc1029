"""The Redis server of the settings: requests that are retried, errors as sentences, values shared by all machines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import redis
from kombu.exceptions import OperationalError
from redis.backoff import NoBackoff
from redis.retry import Retry
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from retrieval.errors import LookalikeError
from retrieval.settings import Settings

DEFAULT_URL = "redis://127.0.0.1:6379/0"
TIMEOUT_SECONDS = 5
ATTEMPTS = 11  # about half a minute in total; Redis restarts in less
WAITS = wait_exponential(multiplier=0.2, max=5)  # seconds between attempts
LOCK_SECONDS = 60  # after which a lock is free if the process that held it has died
ERRORS = (redis.RedisError, OperationalError)
# Redis is unreachable, restarting (ResponseError: loading its data, not writable yet) or full.
TRANSIENT_ERRORS = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, OperationalError)

Reply = TypeVar("Reply")


def connect(settings: Settings) -> "redis.Redis":
    """Create a client of the settings' server, for requests through `retry` or `once`."""
    return redis.Redis.from_url(
        settings.redis_url or DEFAULT_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def retry(request: Callable[[], Reply]) -> Reply:
    """Return the reply to a request, which is repeated with growing pauses while Redis is unavailable or full.

    Raises `LookalikeError` if Redis stays unavailable, or refuses.
    """
    transient = retry_if_exception_type(TRANSIENT_ERRORS)
    attempts = Retrying(retry=transient, stop=stop_after_attempt(ATTEMPTS), wait=WAITS, reraise=True)
    return once(lambda: attempts(request))


def once(request: Callable[[], Reply]) -> Reply:
    """Return the reply to a request; raise `LookalikeError` if Redis can't be reached or refuses."""
    try:
        return request()
    except ERRORS as error:
        raise _sentence(error) from None


def eviction_policy(settings: Settings) -> str:
    """Return what the settings' server does when its memory is full: its `maxmemory-policy`.

    It is "noeviction" if the server does not report it. Raises `LookalikeError` if it can't be reached.
    """
    with connect(settings) as client:
        return str(once(lambda: client.info("memory")).get("maxmemory_policy", "noeviction"))


@contextmanager
def exclusive(client: "redis.Redis", name: str, poll_seconds: float = 0.01) -> Iterator[None]:
    """Within the context, no other process is in one of this name; raises `LookalikeError` if Redis is unavailable.

    If the process dies, others wait until `LOCK_SECONDS` have passed.
    """
    lock = client.lock(name, timeout=LOCK_SECONDS, sleep=poll_seconds)
    retry(lock.acquire)
    try:
        yield
    finally:
        with suppress(*ERRORS):
            lock.release()


def require_redis(settings: Settings) -> None:
    """Raise `LookalikeError` unless the settings' server answers now."""
    try:
        with connect(settings) as client:
            once(client.ping)
    except ValueError as error:  # what the client can't make of the URL
        raise _sentence(error) from None


def store_value(settings: Settings, name: str, content: bytes) -> None:
    """Store a value under a name for every machine that uses the same server."""
    with connect(settings) as client:
        retry(lambda: client.set(name, content))


def load_value(settings: Settings, name: str) -> bytes | None:
    """Return a stored value, None if there is none; a single attempt, for callers that can do without."""
    with connect(settings) as client:
        found: bytes | None = once(lambda: client.get(name))
    return found


def _sentence(error: Exception) -> LookalikeError:
    if _is_full(error):
        return LookalikeError(
            "Redis is full: it accepts no more batches.",
            "Raise its maxmemory, and keep maxmemory-policy noeviction; then run the same command again.",
        )
    return LookalikeError(
        f"Redis can't be reached ({error}).",
        "Check LOOKALIKE_REDIS_URL, and that the server runs; then run the same command again.",
    )


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is Redis' refusal to store more."""
    return error is not None and (isinstance(error, redis.exceptions.OutOfMemoryError) or _is_full(error.__cause__))
