"""How many photos carry each label, counted no more often than needed."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from retrieval.index import VectorIndex

PATIENCE = 20  # counts may be as many times older as counting takes


@dataclass(frozen=True, slots=True)
class _Counted:
    labels: Mapping[str, int]
    good_until: float  # on the monotonic clock


_counted: WeakKeyDictionary[VectorIndex, _Counted] = WeakKeyDictionary()
_counting = threading.Lock()


def count_labels(index: VectorIndex) -> Mapping[str, int]:
    """An index's labels with how many photos carry each, as they were a moment ago.

    Counting 50,000 labels takes a second, which nobody should wait for at every step of a search.
    """
    with _counting:
        known = _counted.get(index)
        start = time.monotonic()
        if known is None or start > known.good_until:
            labels = index.labels()
            now = time.monotonic()
            known = _counted[index] = _Counted(labels, now + PATIENCE * (now - start))
        return known.labels
