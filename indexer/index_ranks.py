"""Ranks of the photos of a large index by name and label, which jobs renew when they end.

Ranks have gaps: new names and labels get numbers between those of the others, so that only the photos that have no rank
are written. If a gap is used up, all photos get new ranks.
"""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, pairwise
from typing import Self

from indexer.batches import batches
from retrieval.cancellation import CancellationToken
from retrieval.columns.kinds import Kind
from retrieval.index import Filter, Payload, VectorIndex
from retrieval.index.conditions import AnyOf
from retrieval.index.ranks import FIELD, RANKED, current_ranks, ranks_of
from retrieval.index_order import has_ranks, note_ranks
from retrieval.sort_order import SortOrder

FEWEST_PHOTOS = 5_000  # of an index that needs ranks; fewer photos are sorted in memory
WRITTEN_AT_ONCE = 1000
STEP = 1 << 28  # between the ranks of two texts, if there are at most 16 million
LARGEST = 1 << 52  # so that a rank is exact as a 64-bit float, as which Qdrant indexes it
NEARNESS = 16  # new ranks are in this part of a gap, near those before, because the names of new photos often ascend
FIELDS: dict[str, Kind] = {f"{FIELD}.{key}": "number" for key in RANKED}

Known = dict[str, int | None]  # texts and their ranks; None: without one


def renew_ranks(index: VectorIndex, cancellation: CancellationToken | None = None) -> None:
    """Give the photos of a large index ranks where they have none; call it when a job ends, before graphs are built.

    It reads photos only if one has no rank. It is idempotent, and resumes if it was cancelled or the process was
    killed. While all photos get new ranks, the index does not sort by them. Payload indexes are created last, since
    photos that change afterwards leave the graph.

    Raises `IndexWriteFailed` if the index can't be written.
    """
    if index.count(exact=False) < FEWEST_PHOTOS or (has_ranks(index) and not _lacks_ranks(index)):
        return
    stored = _Stored.of(index)
    completed = {key: with_new(known) for key, known in stored.known.items() if key not in stored.contradictory}
    kept = {key: ranks for key, ranks in completed.items() if ranks is not None}
    renews_all = kept.keys() != stored.known.keys()
    if renews_all:
        note_ranks(index, complete=False)
    ranks = {key: kept[key] if key in kept else afresh(known) for key, known in stored.known.items()}
    for some in batches(index.scroll_payloads() if renews_all else _read(index, stored.unranked), WRITTEN_AT_ONCE):
        if cancellation is not None and cancellation.cancelled:
            return
        new = {photo: replace(payload, ranks=ranks_of(payload.sort_texts(), ranks)) for photo, payload in some}
        index.replace_payloads({photo: new[photo] for photo, payload in some if new[photo] != payload})
    index.flush()
    index.index_fields(FIELDS)
    if not has_ranks(index):
        note_ranks(index, complete=True)


def _lacks_ranks(index: VectorIndex) -> bool:
    """Whether a photo has a name or a label without a rank."""
    unranked = AnyOf(tuple(SortOrder(key).unranked for key in RANKED))
    return index.matching(Filter(where=unranked), exact=True) > 0


@dataclass(slots=True)
class _Stored:
    """The texts by which the photos of an index are sorted, and the ranks that they have."""

    known: dict[str, Known] = field(default_factory=lambda: {key: {} for key in RANKED})
    unranked: list[uuid.UUID] = field(default_factory=list)  # photos that lack a rank
    contradictory: set[str] = field(default_factory=set)  # orders in which a text has two ranks

    @classmethod
    def of(cls, index: VectorIndex) -> Self:
        """Read those of an index."""
        stored = cls()
        for photo, payload in index.scroll_payloads():
            stored.add(photo, payload)
        return stored

    def add(self, photo: uuid.UUID, payload: Payload) -> None:
        """Add a photo."""
        texts = payload.sort_texts()
        ranks = current_ranks(payload.ranks, texts)
        for key, text in texts.items():
            known, rank = self.known[key].get(text), ranks.get(key)
            if known is not None and rank not in (None, known):
                self.contradictory.add(key)
            self.known[key][text] = known if rank is None else rank
        if not texts.keys() <= ranks.keys():
            self.unranked.append(photo)


def with_new(known: Known) -> dict[str, int] | None:
    """Return the ranks of all texts: those that have none get new ones between those of the others.

    Returns None if ranks contradict the order of the texts, or no number is left between two of them.
    """
    ranks = {text: rank for text, rank in sorted(known.items()) if rank is not None}
    if any(rank >= following for rank, following in pairwise(ranks.values())):
        return None
    runs = [list(run) for _, run in groupby(sorted(known), lambda text: known[text] is None)]
    for run, before, after in zip(runs, [[], *runs], [*runs[1:], []], strict=False):
        if known[run[0]] is None:
            new = _between(len(run), known[before[-1]] if before else None, known[after[0]] if after else None)
            if new is None:
                return None
            ranks |= zip(run, new, strict=True)
    return ranks


def afresh(texts: Iterable[str]) -> dict[str, int]:
    """Return new ranks for all texts."""
    ordered = sorted(texts)
    step = min(STEP, LARGEST // max(1, len(ordered)))
    return {text: step * number for number, text in enumerate(ordered)}


def _between(count: int, before: int | None, after: int | None) -> range | None:
    """Return ascending ranks between two others, None for an open end; None if there are not enough numbers."""
    if before is None:
        end = count * STEP if after is None else after
        new = range(end - count * STEP, end, STEP)
    else:
        step = STEP if after is None else _step(count, after - before)
        if not step:
            return None
        new = range(before + step, before + step * count + 1, step)
    return new if new[0] >= -LARGEST and new[-1] <= LARGEST else None


def _step(count: int, gap: int) -> int:
    """Return the distance of new ranks in a gap; 0 if they don't fit."""
    return gap // (NEARNESS * count) or gap // (count + 1)


def _read(index: VectorIndex, photos: Iterable[uuid.UUID]) -> Iterator[tuple[uuid.UUID, Payload]]:
    return chain.from_iterable(index.get(some).items() for some in batches(photos, WRITTEN_AT_ONCE))
