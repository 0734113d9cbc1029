"""A limit on the memory that threads use at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class ByteBudget:
    """Limits the memory that threads use at the same time; they wait for it in the order of their requests."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._next = threading.Lock()
        self._released = threading.Condition()

    @contextmanager
    def use(self, count: int) -> Iterator[None]:
        """Wait until `count` bytes are free; they are used within the context.

        More bytes than the limit can be used while no others are.
        """
        with self._next, self._released:
            self._released.wait_for(lambda: not self._used or self._used + count <= self._limit)
            self._used += count
        try:
            yield
        finally:
            with self._released:
                self._used -= count
                self._released.notify_all()
