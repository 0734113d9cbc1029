"""The conditions of a filter; each engine compiles them (`retrieval.index.edge_filter` and `server_filter`).

A photo that has several values of a field satisfies a condition if one of them does; a photo without a value satisfies
only a `Not`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from math import asin, cos, radians, sin, sqrt
from typing import Any

from retrieval.columns.kinds import Kind
from retrieval.index.payload import Payload

EARTH_KM = 6371.0088  # mean radius
EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the payload that filters can use."""

    key: str  # in Qdrant's notation: of a column, `columns.KEY`, of a rank, `ranks.KEY`
    kind: Kind

    def values(self, photo: Payload) -> list[Any]:
        """Return the values of a photo; none if it has no value."""
        parent, _, key = self.key.rpartition(".")
        value = getattr(photo, parent).get(key) if parent else getattr(photo, key)
        if isinstance(value, list):
            return value
        return [] if value is None or value == "" else [value]


class Condition(ABC):
    """What a filter demands of a photo."""

    @abstractmethod
    def matches(self, photo: Payload) -> bool:
        """Whether a photo satisfies it."""

    def parts(self) -> Iterator["Condition"]:
        """Yield the condition itself and those within it."""
        yield self


@dataclass(frozen=True, slots=True)
class AllOf(Condition):
    """Every one of some conditions; without conditions, every photo satisfies it."""

    conditions: tuple[Condition, ...]

    def matches(self, photo: Payload) -> bool:
        return all(condition.matches(photo) for condition in self.conditions)

    def parts(self) -> Iterator[Condition]:
        return chain([self], *(condition.parts() for condition in self.conditions))


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """At least one of some conditions."""

    conditions: tuple[Condition, ...]

    def matches(self, photo: Payload) -> bool:
        return any(condition.matches(photo) for condition in self.conditions)

    def parts(self) -> Iterator[Condition]:
        return chain([self], *(condition.parts() for condition in self.conditions))


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """Not this condition."""

    condition: Condition

    def matches(self, photo: Payload) -> bool:
        return not self.condition.matches(photo)

    def parts(self) -> Iterator[Condition]:
        return chain([self], self.condition.parts())


@dataclass(frozen=True, slots=True)
class Exists(Condition):
    """The field has a value."""

    field: Field

    def matches(self, photo: Payload) -> bool:
        return bool(self.field.values(photo))


@dataclass(frozen=True, slots=True)
class OneOf(Condition):
    """The text or flag is one of these."""

    field: Field
    texts: tuple[str, ...]

    def matches(self, photo: Payload) -> bool:
        return any(value in self.texts for value in self.field.values(photo))


@dataclass(frozen=True, slots=True)
class StartsWith(Condition):
    """The text starts with this one."""

    field: Field
    prefix: str

    def matches(self, photo: Payload) -> bool:
        return any(value.startswith(self.prefix) for value in self.field.values(photo))


@dataclass(frozen=True, slots=True)
class Within(Condition):
    """The number is within limits; None: no limit."""

    field: Field
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None

    def matches(self, photo: Payload) -> bool:
        return any(_is_within(value, self) for value in self.field.values(photo))


@dataclass(frozen=True, slots=True)
class During(Condition):
    """The time is within limits, which have a time zone; None: no limit."""

    field: Field
    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None

    def matches(self, photo: Payload) -> bool:
        return any(_is_within(datetime.fromisoformat(value), self) for value in self.field.values(photo))

    def texts(self) -> dict[str, str]:
        """Return the limits in ISO 8601, without those that are None."""
        limits = {"gte": self.gte, "gt": self.gt, "lte": self.lte, "lt": self.lt}
        return {name: limit.isoformat() for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class Near(Condition):
    """The place is at most this far from another one, given in degrees."""

    field: Field
    latitude: float
    longitude: float
    km: float

    def matches(self, photo: Payload) -> bool:
        return any(self._distance(value["lat"], value["lon"]) <= self.km for value in self.field.values(photo))

    def _distance(self, latitude: float, longitude: float) -> float:
        """The length of the great circle in kilometres, by the haversine formula."""
        here, there = radians(self.latitude), radians(latitude)
        half = sin((there - here) / 2) ** 2
        half += cos(here) * cos(there) * sin(radians(longitude - self.longitude) / 2) ** 2
        return 2 * EARTH_KM * asin(min(1.0, sqrt(half)))


def _is_within(value: Any, limits: Within | During) -> bool:
    return (
        (limits.gte is None or value >= limits.gte)
        and (limits.gt is None or value > limits.gt)
        and (limits.lte is None or value <= limits.lte)
        and (limits.lt is None or value < limits.lt)
    )
