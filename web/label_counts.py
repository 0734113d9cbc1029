"""The number of photos per label, cached for a moment."""

import math
import threading
import time
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from retrieval.index import VectorIndex

CACHE_FACTOR = 20  # counts are cached for this many times as long as counting took


class LabelCounts:
    """Counts the labels of indexes, and caches the counts.

    Counting 50,000 labels takes a second, too long for every step of a search.
    """

    def __init__(self) -> None:
        self._counted: WeakKeyDictionary[VectorIndex, tuple[Mapping[str, int], float]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, index: VectorIndex) -> Mapping[str, int]:
        """The labels of an index with the number of photos that carry each, possibly a moment old."""
        with self._lock:
            start = time.monotonic()
            labels, expires = self._counted.get(index, ({}, -math.inf))
            if start > expires:
                labels, now = index.labels(), time.monotonic()
                self._counted[index] = labels, now + CACHE_FACTOR * (now - start)
            return labels
