"""How patiently a request to the index server is retried: a job waits for the server, a person does not."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from math import inf

PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between the attempts
BRIEF_PAUSES_SECONDS = (0.1,)  # of a web request
NO_LIMIT = 3600.0  # seconds for a request that has no timeout

Turn = Callable[[], AbstractContextManager[object]]

_brief = ContextVar("brief", default=False)
_deadline = ContextVar("deadline", default=inf)  # on the monotonic clock


@contextmanager
def brief_retries() -> Iterator[None]:
    """Within the context, requests of this thread are retried once, soon."""
    token = _brief.set(True)
    try:
        yield
    finally:
        _brief.reset(token)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Within the context, the requests of this thread take at most so long together; an outer limit may be shorter."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left() -> float:
    """Return the seconds until the requests of this thread must have ended; infinity if there is no limit."""
    return _deadline.get() - time.monotonic()


def pauses() -> tuple[float, ...]:
    """Return the seconds to wait before each further attempt."""
    return BRIEF_PAUSES_SECONDS if _brief.get() else PAUSES_SECONDS


def waits_for_rate_limits() -> bool:
    """Whether requests of this thread wait as long as a server that limits their rate demands."""
    return not _brief.get() and _deadline.get() == inf
