"""The photos of a large index in an order by which the index sorts, from any position on."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from typing import Any

from retrieval.errors import BadQuery
from retrieval.index import Filter, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.conditions import Condition, Exists, Not
from retrieval.sort_order import Position, SortOrder

VERSION = 1  # of ranks, and of the order of texts
NOTE = "ranks"  # saved with an index in which ranks agree with each other
MOST_UNRANKED = 25_000  # photos; up to so many are sorted in memory


@dataclass(frozen=True, slots=True)
class IndexOrder:
    """The photos that a filter keeps, in an order by which the index sorts.

    A few photos may have no ranks, because they were indexed or changed since the last job: they are sorted in memory,
    and merged with the others.
    """

    index: VectorIndex
    order: SortOrder
    filter: Filter
    batch: int  # photos that are read at once

    def photos(self, after: Position | None) -> Iterator[IndexedPhoto]:
        """Yield the photos after a position, None for all: first those with a value, then those without one.

        Raises `BadQuery` if too many photos have no ranks.
        """
        if after is None or after.value is not None:
            place = self.order.place
            for photo in merge(self._by_number(after), self._unranked(), key=place):
                if after is None or place(photo) > after.place:
                    yield photo
        yield from self._by_id(Not(Exists(self.order.source)), after if after and after.value is None else None)

    def _by_number(self, after: Position | None) -> Iterator[IndexedPhoto]:
        """Yield the photos in the order of the index, from about a position on.

        The index sorts photos with equal numbers in no particular order, and a batch may end among them; these are read
        by their ids.
        """
        last = None if after is None else self._number_of(after)
        if last is not None:
            yield from self._by_id(self.order.equals(last), after)
        while True:
            beyond = self.filter if last is None else self.filter.narrowed(self.order.beyond(last))
            found = self.index.ordered(self.order.field, self.batch, beyond, descending=self.order.descending)
            photos = [IndexedPhoto(id, payload) for id, payload in found.items()]
            is_end = len(photos) < self.batch
            if photos:
                last = self._number(photos[-1])
            for number, equal in groupby(photos, self._number):
                if is_end or number != last:
                    yield from sorted(equal, key=lambda photo: photo.id)
            if is_end:
                return
            yield from self._by_id(self.order.equals(last))

    def _unranked(self) -> list[IndexedPhoto]:
        """Return the photos with a value and without a rank, sorted."""
        if not self.order.is_ranked:
            return []
        unranked = self.index.matching(self.filter.narrowed(self.order.unranked), exact=True)
        if unranked > MOST_UNRANKED:
            raise BadQuery(
                f"{unranked:,} photos are too many to sort them by {self.order.key} while a job changes them.",
                f"Repeat this when the job has ended, or filter the photos: up to {MOST_UNRANKED:,} can be sorted now.",
            )
        return sorted(self._by_id(self.order.unranked), key=self.order.place) if unranked else []

    def _by_id(self, condition: Condition, after: Position | None = None) -> Iterator[IndexedPhoto]:
        """Yield the photos that satisfy a condition in the order of their ids, those after a position."""
        start = None if after is None else after.id
        found = self.index.scroll_payloads(self.batch, self.filter.narrowed(condition), start)
        return (IndexedPhoto(photo, payload) for photo, payload in found if photo != start)

    def _number(self, photo: IndexedPhoto) -> Any:
        return self.order.number(photo.payload)

    def _number_of(self, position: Position) -> Any:
        """Return the number or date of a position: the rank that its photo has now, if that is still in this place."""
        if not self.order.is_ranked:
            return position.value
        now = self.index.get([position.id]).get(position.id)
        is_same = now is not None and self.order.value(now) == position.value
        rank = self.order.number(now) if now is not None and is_same else None
        return position.rank if rank is None else rank


def has_ranks(index: VectorIndex) -> bool:
    """Whether the index can sort by ranks; a few photos may have none."""
    with suppress(ValueError):
        return int(index.note(NOTE) or 0) == VERSION
    return False


def note_ranks(index: VectorIndex, *, complete: bool) -> None:
    """Save whether the index can sort by ranks; raises `IndexWriteFailed` if that is not possible."""
    index.save_note(NOTE, str(VERSION if complete else 0))
