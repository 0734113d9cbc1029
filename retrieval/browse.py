"""Browsing an index without a query: its photos filtered, sorted and in pages."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from retrieval.errors import BadQuery
from retrieval.index import Filter, Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index_order import IndexOrder, has_ranks
from retrieval.labels import composed
from retrieval.photo_ref import file_name
from retrieval.sort_order import Position, SortOrder

FEW_PHOTOS = 5_000  # which are always sorted here, since reading them takes a moment only
SORTED_IN_MEMORY = 25_000  # photos; up to so many are searched, and sorted if the index can't sort them
MOST_SKIPPED = 10_000
READ_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Browsing:
    """Which photos to list, and in which order."""

    filter: Filter
    words: str = ""  # only photos with a file name or label that contains this text, in any case
    sort: str = ""  # one of `SORT_KEYS`, with a minus sign for descending order; empty: by id
    offset: int = 0
    limit: int = 100
    after: str = ""  # `Page.following` of the page before, instead of an offset; empty: from the first photo on
    order: SortOrder = field(init=False)
    start: Position | None = field(init=False)  # what `after` describes

    def __post_init__(self) -> None:
        order = SortOrder.parse(self.sort)
        if self.offset > MOST_SKIPPED:
            raise BadQuery(f"offset is {self.offset:,}; it is at most {MOST_SKIPPED:,}.", "Use `after` instead.")
        if self.after and self.offset:
            raise BadQuery("`after` and `offset` can't be combined.", "Omit `offset`.")
        object.__setattr__(self, "order", order)
        object.__setattr__(self, "start", Position.parse(self.after, order) if self.after else None)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of photos."""

    photos: list[IndexedPhoto]
    total: int  # photos that match
    following: Position | None  # where the next page starts; None if this is the last


def browse(index: VectorIndex, wanted: Browsing) -> Page:
    """Return a page of the photos of an index.

    Photos without the value by which they are sorted are last. Photos with equal values are in the order of their ids.

    Raises:
        BadQuery: more than 25,000 photos match, and file names and labels would be searched, or the index has no ranks
            to sort by name or label.
    """
    total = index.matching(wanted.filter, exact=True)
    text = composed(wanted.words).casefold()
    if not wanted.sort and not text:
        return _page(_by_id(index, wanted), total, wanted)
    if not text and _index_sorts(index, wanted.order, total):
        batch = min(wanted.offset + wanted.limit + 1, READ_AT_ONCE)
        ordered = IndexOrder(index, wanted.order, wanted.filter, batch)
        return _page(ordered.photos(wanted.start), total, wanted)
    if total > SORTED_IN_MEMORY:
        by_key = f"sort them by {wanted.order.key} before a job has done so"
        raise _too_many(total, "search their file names and labels" if text else by_key)
    found = _sorted(index, wanted, text)
    return _page(_after(found, wanted), len(found), wanted)


def _index_sorts(index: VectorIndex, order: SortOrder, total: int) -> bool:
    """Whether the index sorts a number of photos: a job has given it ranks, or there are too many to sort them here."""
    if total <= FEW_PHOTOS:
        return False
    return has_ranks(index) or (total > SORTED_IN_MEMORY and not order.is_ranked)


def _page(photos: Iterable[IndexedPhoto], total: int, wanted: Browsing) -> Page:
    """Cut a page out of the photos from `wanted.start` on."""
    end = wanted.offset + wanted.limit
    before = list(islice(photos, end + 1))
    page = before[wanted.offset : end]
    return Page(page, total, _last(before[:end], wanted) if len(before) > end else None)


def _last(photos: Sequence[IndexedPhoto], wanted: Browsing) -> Position:
    """Return the position of the last of the photos from `wanted.start` on."""
    rank = None if wanted.start is None else wanted.start.rank
    if wanted.order.is_ranked:
        ranks = (wanted.order.number(photo.payload) for photo in reversed(photos))
        rank = next((found for found in ranks if found is not None), rank)
    return wanted.order.position(photos[-1], rank)


def _by_id(index: VectorIndex, wanted: Browsing) -> Iterator[IndexedPhoto]:
    start = None if wanted.start is None else wanted.start.id
    found = index.scroll_payloads(min(wanted.offset + wanted.limit + 2, READ_AT_ONCE), wanted.filter, start)
    return (IndexedPhoto(photo, payload) for photo, payload in found if photo != start)


def _sorted(index: VectorIndex, wanted: Browsing, text: str) -> list[IndexedPhoto]:
    """Read all photos that match and contain a text, and sort them."""
    found = (IndexedPhoto(photo, payload) for photo, payload in index.scroll_payloads(filter=wanted.filter))
    return sorted((photo for photo in found if _contains(photo.payload, text)), key=wanted.order.place)


def _after(photos: Iterable[IndexedPhoto], wanted: Browsing) -> Iterator[IndexedPhoto]:
    start = wanted.start
    return (photo for photo in photos if start is None or wanted.order.place(photo) > start.place)


def _contains(photo: Payload, text: str) -> bool:
    return text in file_name(photo.uri).casefold() or text in (photo.label or "").casefold()


def _too_many(total: int, purpose: str) -> BadQuery:
    return BadQuery(
        f"{total:,} photos are too many to {purpose}.", f"Filter them: up to {SORTED_IN_MEMORY:,} are possible."
    )
