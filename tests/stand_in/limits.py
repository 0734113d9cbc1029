"""Strict mode: what the server refuses, and how many reads and writes a minute it accepts."""

import math
import time
import zlib
from collections.abc import Iterator, Sequence
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
    filled: float = field(init=False)
    spent: int = 0

    def __post_init__(self) -> None:
        self.tokens, self.filled = float(self.capacity), time.monotonic()

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
        self.spent += cost


class StrictMode:
    """The strict mode of a collection."""

    def __init__(self, shards: int) -> None:
        self.config: dict[str, Any] = {}
        self._shards = shards
        self._buckets: dict[str, list[Bucket]] = {}  # of each shard

    def change(self, config: dict[str, Any]) -> None:
        self.config |= config
        limits = {"Read": self.config.get("read_rate_limit"), "Write": self.config.get("write_rate_limit")}
        self._buckets = {
            what: [Bucket(what, limit) for _ in range(self._shards)] for what, limit in limits.items() if limit
        }

    @property
    def enabled(self) -> bool:
        return bool(self.config.get("enabled"))

    @property
    def spent(self) -> dict[str, int]:
        """The most reads and writes that a shard accepted since the limits were set."""
        return {what: max(bucket.spent for bucket in buckets) for what, buckets in self._buckets.items()}

    def read(self, cost: int) -> None:
        """Spend tokens of every shard, as a scroll or a search does."""
        self._take("Read", [cost] * self._shards)

    def read_points(self, ids: Sequence[object]) -> None:
        """Spend a token of the shard of each point."""
        self._take("Read", self._of_shards(ids))

    def write(self, ids: Sequence[object]) -> None:
        """Spend a token of the shard of each point."""
        self._take("Write", self._of_shards(ids))

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

    def _of_shards(self, ids: Sequence[object]) -> list[int]:
        shards = [zlib.crc32(str(point).encode()) % self._shards for point in ids]
        return [shards.count(shard) for shard in range(self._shards)]

    def _take(self, what: str, costs: Sequence[int]) -> None:
        """Spend tokens of the shards; if one refuses, the others accept nevertheless."""
        refusals = []
        for bucket, cost in zip(self._buckets.get(what, []) if self.enabled else [], costs, strict=False):
            try:
                bucket.take(cost)
            except Refusal as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]


def cost_of(filter: models.Filter | None) -> int:
    """Return the number of reads that a filter costs: one for each condition, also if that has many values."""
    if filter is None:
        return 0
    return sum(cost_of(part) if isinstance(part, models.Filter) else 1 for part in _parts(filter))


def keys_of(filter: models.Filter | None) -> Iterator[str]:
    """The payload keys that a filter compares."""
    if filter is None:
        return
    for condition in _parts(filter):
        if isinstance(condition, models.FieldCondition):
            yield condition.key
        elif isinstance(condition, models.Filter):
            yield from keys_of(condition)


def _parts(filter: models.Filter) -> Iterator[models.Condition]:
    for conditions in (filter.must, filter.should, filter.must_not):
        yield from conditions if isinstance(conditions, list) else [conditions] if conditions else []
