"""The order of hits: by score, then by URI, so that pages of results continue each other."""

import uuid
from collections.abc import Callable, Sequence

from retrieval.index import Hit

# Numbers of hits that are fetched in turn until all with the score of the last result are among them. Larger groups of
# photos with equal scores are sorted in part only.
TIE_DEPTHS = (256, 1024, 4096, 16_384)


def in_order(hits: Sequence[Hit], first: uuid.UUID | None) -> list[Hit]:
    """Return the hits with the highest score first; with equal scores `first`, then the others by their URIs."""
    return sorted(hits, key=lambda hit: (-round(hit.score, 6), hit.id != first, hit.payload.uri))


def hits_with_ties(search: Callable[[int], list[Hit]], wanted: int, leave_out: frozenset[uuid.UUID]) -> list[Hit]:
    """Return the nearest hits without those left out, and all with the score of the last one that is wanted.

    `search` returns the given number of nearest hits.
    """
    asked = wanted + len(leave_out) + 1
    depths = iter([depth for depth in TIE_DEPTHS if depth > asked])
    while True:
        found = search(asked)
        hits = [hit for hit in found if hit.id not in leave_out]
        if len(found) < asked or round(found[-1].score, 6) < round(hits[wanted - 1].score, 6):
            return hits
        deeper = next(depths, None)
        if deeper is None:
            return hits
        asked = deeper
