"""Timing helpers."""

import statistics
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """The seconds that a call took, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def spread(values: Iterable[float]) -> dict[str, float]:
    """The median, minimum and maximum of several values."""
    known = [float(value) for value in values]
    return {"median": round(statistics.median(known), 3), "least": round(min(known), 3), "most": round(max(known), 3)}
