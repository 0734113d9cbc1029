"""The number of photos per label, cached for a moment."""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from weakref import WeakKeyDictionary

from retrieval.index import VectorIndex

CACHE_FACTOR = 20  # counts are cached for this many times as long as counting took
FAILURE_SECONDS = 1.0  # for which a failure is cached

Counts = Mapping[str, int]


@dataclass(slots=True)
class _Counting:
    """Counts that are being computed by one thread and awaited by others, or were computed."""

    result: "Future[Counts]" = field(default_factory=Future)
    expires: float = inf  # until they are computed


class LabelCounts:
    """Counts the labels of indexes, and caches the counts.

    Counting 50,000 labels takes a second, too long for every step of a search. One request counts, and those that
    arrive meanwhile share its result; a failure is shared, too, so that requests do not wait for each other while an
    index fails slowly.
    """

    def __init__(self) -> None:
        self._cached: WeakKeyDictionary[VectorIndex, _Counting] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, index: VectorIndex) -> Counts:
        """Return the labels of an index with the number of photos that carry each, possibly a moment old.

        Raises as `VectorIndex.labels`.
        """
        with self._lock:
            counting = self._cached.get(index)
            is_due = counting is None or time.monotonic() > counting.expires
            if counting is None or is_due:
                counting = self._cached[index] = _Counting()
        if is_due:
            _count(index, counting)
        return counting.result.result()


def _count(index: VectorIndex, counting: _Counting) -> None:
    start = time.monotonic()
    try:
        counting.result.set_result(index.labels(exact=False))
    except BaseException as error:
        counting.expires = time.monotonic() + FAILURE_SECONDS
        counting.result.set_exception(error)
    else:
        now = time.monotonic()
        counting.expires = now + CACHE_FACTOR * (now - start)
