"""The number of photos per label, and per value of a column, cached for a moment."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf
from weakref import WeakKeyDictionary

from retrieval.index import VectorIndex
from retrieval.index.conditions import Field

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
        self._cached: WeakKeyDictionary[VectorIndex, dict[Field | None, _Counting]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, index: VectorIndex) -> Counts:
        """Return the labels of an index with the number of photos that carry each, possibly a moment old.

        Raises as `VectorIndex.labels`.
        """
        return self._of(index, None, lambda: index.labels(exact=False))

    def of_column(self, index: VectorIndex, field: Field, most: int) -> Counts:
        """Return the most frequent values of a column of texts, as `of` does for labels."""
        return self._of(index, field, lambda: index.counts(field, most))

    def _of(self, index: VectorIndex, field: Field | None, count: Callable[[], Counts]) -> Counts:
        with self._lock:
            cached = self._cached.setdefault(index, {})
            counting = cached.get(field)
            is_due = counting is None or time.monotonic() > counting.expires
            if counting is None or is_due:
                counting = cached[field] = _Counting()
        if is_due:
            _count(count, counting)
        return counting.result.result()


def _count(count: Callable[[], Counts], counting: _Counting) -> None:
    start = time.monotonic()
    try:
        counting.result.set_result(count())
    except BaseException as error:
        counting.expires = time.monotonic() + FAILURE_SECONDS
        counting.result.set_exception(error)
    else:
        now = time.monotonic()
        counting.expires = now + CACHE_FACTOR * (now - start)
