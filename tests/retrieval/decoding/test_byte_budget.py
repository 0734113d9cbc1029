"""Threads use a limited amount of memory together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import pytest

from retrieval.decoding.byte_budget import ByteBudget


def test_bytes_above_the_limit_are_used_alone_and_in_order() -> None:
    budget, order = ByteBudget(100), list[str]()
    first, first_done = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.use(60):
            first.set()
            assert first_done.wait(10)

    def note(name: str, count: int) -> None:
        with budget.use(count):
            order.append(name)

    with ThreadPoolExecutor(3) as threads:
        threads.submit(hold)
        assert first.wait(10)
        note("fits", 40)
        large = threads.submit(note, "large", 500)
        with pytest.raises(NotYet):
            large.result(0.1)
        after = threads.submit(note, "after", 40)
        with pytest.raises(NotYet):
            after.result(0.1)
        first_done.set()
        after.result(10)
    assert order == ["fits", "large", "after"]
