"""How patiently a request to the index server is retried: a job waits for the server, a person does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between the attempts
BRIEF_PAUSES_SECONDS = (0.1,)  # of a web request

_brief = ContextVar("brief", default=False)


@contextmanager
def brief_retries() -> Iterator[None]:
    """Within the context, requests of this thread are retried once, soon."""
    token = _brief.set(True)
    try:
        yield
    finally:
        _brief.reset(token)


def pauses() -> tuple[float, ...]:
    """Return the seconds to wait before each further attempt."""
    return BRIEF_PAUSES_SECONDS if _brief.get() else PAUSES_SECONDS
