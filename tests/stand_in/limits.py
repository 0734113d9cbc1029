"""Strict mode: what the server refuses, and how many reads and writes a minute it accepts."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from qdrant_client import models

from stand_in.answers import Refusal


@dataclass
class Bucket:
    """The tokens of a collection's reads or writes: full at first, and refilled within a minute."""

    what: str
    capacity: int
    tokens: float = field(init=False)
    filled: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.tokens = float(self.capacity)

    def take(self, cost: int) -> None:
        """Spend tokens; a request that is refused spends none."""
        error = f"Rate limiting exceeded: {self.what} rate limit exceeded"
        if cost > self.capacity:
            raise Refusal(429, f"{error}, request larger than rate limiter capacity, please try to split your request")
        now = time.monotonic()
        self.tokens = min(self.capacity, self.tokens + (now - self.filled) * self.capacity / 60)
        self.filled = now
        if cost > self.tokens:
            seconds = math.ceil((cost - self.tokens) * 60 / self.capacity)
            needed = f"Operation requires {cost} tokens but only {math.floor(self.tokens):.1f} were available"
            raise Refusal(429, f"{error}: {needed}. Retry after {seconds}s", Retry_After=str(seconds))
        self.tokens -= cost


class StrictMode:
    """The strict mode of a collection."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self._buckets: dict[str, Bucket] = {}

    def change(self, config: dict[str, Any]) -> None:
        self.config |= config
        limits = {"Read": self.config.get("read_rate_limit"), "Write": self.config.get("write_rate_limit")}
        self._buckets = {what: Bucket(what, limit) for what, limit in limits.items() if limit}

    @property
    def enabled(self) -> bool:
        return bool(self.config.get("enabled"))

    def read(self, cost: int = 1) -> None:
        self._take("Read", cost)

    def write(self, cost: int) -> None:
        self._take("Write", cost)

    def check_limit(self, limit: int | None) -> None:
        most = self.config.get("max_query_limit")
        if self.enabled and most and (limit or 10) > most:
            help = f'Reduce the "limit" parameter to or below {most}.'
            raise Refusal(400, f'Bad request: Limit exceeded {limit} > {most} for "limit". Help: {help}')

    def check_params(self, params: models.SearchParams | None) -> None:
        if self.enabled and params and params.exact and self.config.get("search_allow_exact") is False:
            raise Refusal(400, "Bad request: Exact search disabled!. Help: Set exact=false.")

    def check_filter(self, filter: models.Filter | None, indexed: set[str]) -> None:
        if not self.enabled or self.config.get("unindexed_filtering_retrieve") is not False:
            return
        for key in keys_of(filter):
            if key not in indexed:
                help = "Create an index for this key or use a different filter."
                problem = f'Index required but not found for "{key}" of one of the following types: [keyword].'
                raise Refusal(400, f"Bad request: {problem} Help: {help}")

    def _take(self, what: str, cost: int) -> None:
        if self.enabled and (bucket := self._buckets.get(what)):
            bucket.take(cost)


def keys_of(filter: models.Filter | None) -> Iterator[str]:
    """The payload keys that a filter compares."""
    if filter is None:
        return
    for conditions in (filter.must, filter.should, filter.must_not):
        for condition in conditions if isinstance(conditions, list) else [conditions] if conditions else []:
            if isinstance(condition, models.FieldCondition):
                yield condition.key
            elif isinstance(condition, models.Filter):
                yield from keys_of(condition)
