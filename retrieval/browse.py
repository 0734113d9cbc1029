"""Browsing an index without a query: its photos filtered, sorted and in pages."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Any, Literal, get_args

from retrieval.columns.where import BUILT_IN
from retrieval.errors import BadQuery
from retrieval.index import Filter, Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.conditions import AllOf, Exists, Not
from retrieval.labels import composed
from retrieval.photo_ref import file_name

SortKey = Literal["name", "label", "bytes", "modified", "taken"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)
SORTED_IN_MEMORY = 25_000  # photos; up to so many are read, searched and sorted here
MOST_SKIPPED = 10_000


@dataclass(frozen=True, slots=True)
class Browsing:
    """Which photos to list, and in which order."""

    filter: Filter
    words: str = ""  # only photos with a file name or label that contains this text, in any case
    sort: str = ""  # one of `SORT_KEYS`, with a minus sign for descending order; empty: by id
    offset: int = 0
    limit: int = 100
    after: uuid.UUID | None = None  # the last photo of the previous page, in the order of the ids

    def __post_init__(self) -> None:
        if self.sort and self.sort.removeprefix("-") not in SORT_KEYS:
            raise BadQuery(f"There is no order {self.sort}.", f"Sort by {', '.join(SORT_KEYS)}, or -{SORT_KEYS[-1]}.")
        if self.offset > MOST_SKIPPED:
            raise BadQuery(f"offset is {self.offset:,}; it is at most {MOST_SKIPPED:,}.", "Use `after` instead.")
        if self.after is not None and (self.sort or self.offset):
            raise BadQuery("`after` is for pages in the order of the ids.", "Omit `sort` and `offset`.")


def browse(index: VectorIndex, wanted: Browsing) -> tuple[list[IndexedPhoto], int]:
    """Return a page of the photos of an index, and the number of all photos that match.

    Photos without the value by which they are sorted are last. Photos with equal values are in the order of their URIs;
    above 25,000 photos, in that of their ids.

    Raises:
        BadQuery: more than 25,000 photos match, and they would be sorted by name or label, or searched by words.
    """
    total = index.matching(wanted.filter, exact=True)
    key, text = wanted.sort.removeprefix("-"), composed(wanted.words).casefold()
    if not text and (not key or not total):
        return _page(_by_id(index, wanted.filter, wanted.after), wanted), total
    if total <= SORTED_IN_MEMORY:
        found = [photo for photo in _by_id(index, wanted.filter, None) if _contains(photo.payload, text)]
        return _page(_sorted(found, wanted.sort, wanted.after), wanted), len(found)
    if text or key in ("name", "label"):
        raise BadQuery(
            f"{total:,} photos are too many to search them by words, or to sort them by {key or 'words'}.",
            f"Filter them: up to {SORTED_IN_MEMORY:,} are possible.",
        )
    return _page(_ordered(index, wanted), wanted), total


def _page(photos: Iterable[IndexedPhoto], wanted: Browsing) -> list[IndexedPhoto]:
    return list(islice(photos, wanted.offset, wanted.offset + wanted.limit))


def _by_id(index: VectorIndex, filter: Filter, after: uuid.UUID | None) -> Iterator[IndexedPhoto]:
    found = index.scroll_payloads(filter=filter, start=after)
    return (IndexedPhoto(photo, payload) for photo, payload in found if photo != after)


def _ordered(index: VectorIndex, wanted: Browsing) -> Iterator[IndexedPhoto]:
    """Return photos in the order of a number or date, as the index sorts them; then those without a value."""
    field = BUILT_IN[wanted.sort.removeprefix("-")]
    needed, is_descending = wanted.offset + wanted.limit, wanted.sort.startswith("-")
    found = index.ordered(field, needed, wanted.filter, descending=is_descending)
    missing = Not(Exists(field))
    where = missing if wanted.filter.where is None else AllOf((wanted.filter.where, missing))
    rest = _by_id(index, replace(wanted.filter, where=where), None)
    return chain((IndexedPhoto(photo, payload) for photo, payload in found.items()), rest)


def _sorted(photos: Sequence[IndexedPhoto], sort: str, after: uuid.UUID | None) -> Iterator[IndexedPhoto]:
    if not sort:
        return (photo for photo in photos if after is None or photo.id > after)
    value = VALUES[sort.removeprefix("-")]
    with_value = [photo for photo in photos if value(photo.payload) is not None]
    by_uri = sorted(with_value, key=lambda photo: photo.payload.uri)
    by_value = sorted(by_uri, key=lambda photo: value(photo.payload), reverse=sort.startswith("-"))
    return chain(by_value, (photo for photo in photos if value(photo.payload) is None))


def _contains(photo: Payload, text: str) -> bool:
    return text in file_name(photo.uri).casefold() or text in (photo.label or "").casefold()


def _date(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) and text else None


VALUES: dict[str, Callable[[Payload], Any]] = {
    "name": lambda photo: file_name(photo.uri).casefold(),
    "label": lambda photo: photo.label and photo.label.casefold(),
    "bytes": lambda photo: photo.bytes,
    "modified": lambda photo: _date(photo.modified_at),
    "taken": lambda photo: _date(photo.columns.get("taken")),
}
