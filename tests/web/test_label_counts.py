"""Label counts: one request counts, others share its result or its failure."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import Site

from retrieval.errors import IndexUnreachable
from retrieval.index import VectorIndex
from web import label_counts
from web.label_counts import LabelCounts


class Slow:
    """An index that takes a moment to count its labels, and fails as often as it should."""

    def __init__(self, index: VectorIndex, failures: int = 0) -> None:
        self._index = index
        self._failures = failures
        self.calls = 0

    def labels(self, *, exact: bool = True) -> dict[str, int]:
        self.calls += 1
        time.sleep(0.2)
        if self.calls <= self._failures:
            raise IndexUnreachable("It fails slowly.")
        return self._index.labels()


@pytest.fixture
def counts() -> LabelCounts:
    return LabelCounts()


def ask(counts: LabelCounts, index: Slow, clients: int = 8) -> list[object]:
    """What each of several clients gets that request the counts at the same time."""
    barrier = threading.Barrier(clients)

    def request() -> object:
        barrier.wait()
        try:
            return counts.of(index)
        except IndexUnreachable as error:
            return error.message

    with ThreadPoolExecutor(clients) as pool:
        return [future.result() for future in [pool.submit(request) for _ in range(clients)]]


def test_one_request_counts_and_the_others_share_its_result(counts: LabelCounts, shared: Site) -> None:
    index = Slow(shared.searcher.index)
    assert ask(counts, index) == [{"blue": 8, "green": 8, "red": 8}] * 8
    assert (index.calls, counts.of(index)["red"], index.calls) == (1, 8, 1)


def test_a_failure_is_shared_and_cached_for_a_moment(
    counts: LabelCounts, shared: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Slow(shared.searcher.index, failures=1)
    start = time.monotonic()
    assert ask(counts, index) == ["It fails slowly."] * 8
    with pytest.raises(IndexUnreachable):
        counts.of(index)
    assert (index.calls, time.monotonic() - start < 1) == (1, True)
    monkeypatch.setattr(label_counts.time, "monotonic", lambda: start + 60)
    assert counts.of(index)["red"] == 8
