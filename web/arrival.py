"""The time in which a request must arrive completely."""

import time
from contextvars import ContextVar

MAX_REQUEST_SECONDS = 60  # from its first byte to its last one


class Deadline:
    """When the current request must have arrived; a server process cuts it off then."""

    def __init__(self) -> None:
        self._at = time.monotonic() + MAX_REQUEST_SECONDS

    @property
    def seconds_left(self) -> float:
        """The time until then; negative if it has passed."""
        return self._at - time.monotonic()

    def extend(self, seconds: float) -> None:
        """Allow this many seconds from now on."""
        self._at = time.monotonic() + seconds


def begin() -> Deadline:
    """Return the deadline of the request that begins in this thread."""
    deadline = Deadline()
    _current.set(deadline)
    return deadline


def allow(seconds: float) -> None:
    """Allow the current request this many seconds from now on; without effect if nothing limits its time."""
    if deadline := _current.get():
        deadline.extend(seconds)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
