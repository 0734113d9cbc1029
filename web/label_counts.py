"""The number of photos per label, cached for a moment."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from retrieval.index import VectorIndex

CACHE_FACTOR = 20  # counts are cached for this many times as long as counting took


class LabelCounts:
    """Counts the labels of indexes, and caches the counts.

    Counting 50,000 labels takes a second, too long for every step of a search.
    """

    def __init__(self) -> None:
        self._counted: WeakKeyDictionary[VectorIndex, _Counted] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, index: VectorIndex) -> Mapping[str, int]:
        """The labels of an index with the number of photos that carry each, possibly a moment old."""
        with self._lock:
            known = self._counted.get(index)
            start = time.monotonic()
            if known is None or start > known.expires:
                labels = index.labels()
                now = time.monotonic()
                known = self._counted[index] = _Counted(labels, now + CACHE_FACTOR * (now - start))
            return known.labels


@dataclass(frozen=True, slots=True)
class _Counted:
    labels: Mapping[str, int]
    expires: float  # on the monotonic clock
