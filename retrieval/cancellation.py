"""Cancellation of long-running work."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.1


class Cancelled(Exception):
    """The work was cancelled before it had a result."""


class CancellationToken:
    """Tells long-running work to stop early; the work checks it between its steps.

    Cancelling takes no lock, so it is safe from another thread and from a signal handler.

    Args:
        condition: cancels the token as soon as it returns true; None if only `cancel` does.
    """

    def __init__(self, condition: Callable[[], bool] | None = None) -> None:
        self._condition = condition
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the work."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """Whether the work is cancelled."""
        return self._cancelled or (self._condition is not None and self._condition())

    def wait(self, seconds: float) -> bool:
        """Wait the given time, or until the work is cancelled; return whether it is."""
        end = time.monotonic() + seconds
        while not self.cancelled:
            if (left := end - time.monotonic()) <= 0:
                return False
            time.sleep(min(left, POLL_SECONDS))
        return True


def raise_if_cancelled(cancellation: CancellationToken | None) -> None:
    """Raise `Cancelled` if the work is cancelled; None can't be cancelled."""
    if cancellation is not None and cancellation.cancelled:
        raise Cancelled
