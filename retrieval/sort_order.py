"""The orders in which photos are listed, and positions in them, at which the next page continues."""

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from retrieval.columns.where import BUILT_IN
from retrieval.errors import BadQuery
from retrieval.index import Payload
from retrieval.index.base import IndexedPhoto
from retrieval.index.conditions import AllOf, Condition, During, Exists, Field, Not, Within
from retrieval.index.ranks import FIELD, RANKED, sort_label, sort_name

SORT_KEYS = (*RANKED, "bytes", "modified", "taken")

MOST_EXACT = 1 << 53

Place = tuple[bool, Any, uuid.UUID]


@dataclass(frozen=True, slots=True)
class SortOrder:
    """An order of photos: by a value, those without one last, and photos with equal values by their ids."""

    key: str  # one of `SORT_KEYS`; empty: only by id
    descending: bool = False

    @classmethod
    def parse(cls, sort: str) -> Self:
        """Return the order of a key, with a minus sign for descending values; raises `BadQuery` if there is none."""
        key = sort.removeprefix("-")
        if sort and key not in SORT_KEYS:
            raise BadQuery(f"There is no order {sort}.", f"Sort by {', '.join(SORT_KEYS)}, or -{SORT_KEYS[-1]}.")
        return cls(key, sort.startswith("-"))

    @property
    def sort(self) -> str:
        """The key, with a minus sign for descending values."""
        return f"-{self.key}" if self.descending else self.key

    @property
    def is_ranked(self) -> bool:
        """Whether the values are texts, which the index sorts by their ranks."""
        return self.key in RANKED

    @property
    def field(self) -> Field:
        """The field by which the index sorts."""
        return Field(f"{FIELD}.{self.key}", "number") if self.is_ranked else BUILT_IN[self.key]

    @property
    def source(self) -> Field:
        """The field that photos have if they have a value."""
        return BUILT_IN["path" if self.key == "name" else self.key]

    @property
    def unranked(self) -> Condition:
        """The condition that a photo has a value but no number by which the index could sort it."""
        return AllOf((Exists(self.source), Not(Exists(self.field))))

    def value(self, photo: Payload) -> Any:
        """Return the value of a photo; None if it has none."""
        return VALUES[self.key](photo)

    def place(self, photo: IndexedPhoto) -> Place:
        """Return what compares as the photos are sorted."""
        return _place(self, self.value(photo.payload), photo.id)

    def number(self, photo: Payload) -> Any:
        """Return the number or date by which the index sorts a photo; None if it has none."""
        return photo.ranks.get(self.key) if self.is_ranked else self.value(photo)

    def equals(self, number: Any) -> Condition:
        """Return the condition that the index sorts a photo by this number or date."""
        return _limited(self.field, gte=number, lte=number)

    def beyond(self, number: Any) -> Condition:
        """Return the condition that a photo follows those with this number or date."""
        return _limited(self.field, **{"lt" if self.descending else "gt": number})

    def position(self, photo: IndexedPhoto, rank: int | None = None) -> "Position":
        """Return the position of a photo; `rank` is that of the last photo up to it that has one."""
        return Position(self, self.value(photo.payload), photo.id, rank)


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a photo in an order, also after it has changed or was removed."""

    order: SortOrder
    value: Any  # of the photo
    id: uuid.UUID
    rank: int | None = None  # in a ranked order: of the last photo up to this one that has a rank

    @property
    def place(self) -> Place:
        """What compares with `SortOrder.place` of photos."""
        return _place(self.order, self.value, self.id)

    def text(self) -> str:
        """Return the position as a text for URLs: by id, it is the id."""
        if not self.order.key:
            return str(self.id)
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        content = json.dumps([self.order.sort, value, str(self.id), self.rank], separators=(",", ":"))
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str, order: SortOrder) -> Self:
        """Return the position of a text in an order; raises `BadQuery` if it is none."""
        try:
            return cls._parsed(text, order)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise BadQuery(
                "`after` is no position in this order.", "Use `next` of the page before, with the same `sort`."
            ) from None

    @classmethod
    def _parsed(cls, text: str, order: SortOrder) -> Self:
        if not order.key:
            return cls(order, "", uuid.UUID(text))
        sort, value, photo, rank = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), "-_", validate=True))
        if sort != order.sort or not (rank is None or _is_exact(rank)):
            raise ValueError
        if order.key in ("modified", "taken"):
            value = _date(value)
        elif value is not None and not (_is_exact(value) if order.key == "bytes" else isinstance(value, str)):
            raise ValueError
        return cls(order, value, uuid.UUID(str(photo)), rank)


@dataclass(frozen=True, slots=True)
class _Descending:
    """A value that is less than smaller ones."""

    value: Any

    def __lt__(self, other: "_Descending") -> bool:
        return bool(other.value < self.value)


def _place(order: SortOrder, value: Any, photo: uuid.UUID) -> Place:
    if value is None:
        return True, 0, photo
    return False, _Descending(value) if order.descending else value, photo


def _limited(field: Field, **limits: Any) -> Condition:
    return During(field, **limits) if field.kind == "date" else Within(field, **limits)


def _date(text: object) -> datetime | None:
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise TypeError
    date = datetime.fromisoformat(text)
    return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)


def _is_exact(number: object) -> bool:
    """Whether a number is an integer that Qdrant, which uses 64-bit floats, does not round."""
    return isinstance(number, int) and abs(number) <= MOST_EXACT


VALUES: dict[str, Callable[[Payload], Any]] = {
    "": lambda photo: "",
    "name": lambda photo: sort_name(photo.uri),
    "label": lambda photo: sort_label(photo.label),
    "bytes": lambda photo: photo.bytes,
    "modified": lambda photo: _date(photo.modified_at),
    "taken": lambda photo: _date(photo.columns.get("taken")),
}
