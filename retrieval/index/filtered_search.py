"""A search with a filter that matches many points: HNSW traversal is not filter-aware here."""

from collections.abc import Iterator
from typing import Protocol

from retrieval.index.base import Hit
from retrieval.index.filter import NO_FILTER, Filter

FACTOR = 4  # how many times the candidates of one traversal the next one has; reading payloads takes most of the time


class Nearest(Protocol):
    """Returns the nearest points that a filter matches."""

    def __call__(self, k: int, filter: Filter, exact: bool, *, candidates: int = 0) -> list[Hit]:
        """Return k points; `exact` compares with all, otherwise the graph is searched with at least `candidates`."""


def filtered_search(nearest: Nearest, k: int, filter: Filter, ef: int) -> list[Hit]:
    """Return the k nearest points that a filter matches, highest score first.

    They are taken from the candidates of unfiltered traversals, each deeper than the one before. If the deepest has too
    few, the query is compared with every point that the filter matches.

    Args:
        nearest: returns the nearest points, given how many, a filter, and whether to compare with every point.
        ef: the candidates of the deepest traversal; at least `FACTOR` times k are used.
    """
    for candidates in _depths(k, ef):
        found = [hit for hit in nearest(candidates, NO_FILTER, False) if filter.matches(hit.payload)]
        if len(found) >= k:
            return found[:k]
    return nearest(k, filter, True)


def _depths(k: int, ef: int) -> Iterator[int]:
    """Yield the number of candidates of each traversal."""
    depth = FACTOR * k
    while depth < ef:
        yield depth
        depth *= FACTOR
    yield max(ef, FACTOR * k)
