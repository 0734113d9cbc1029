"""The choice between the graph of an index and a comparison with every point, which both engines share."""

from abc import abstractmethod
from functools import partial

from retrieval.index.base import Hit, VectorIndex
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.filtered_search import Nearest
from retrieval.index.vectors import Vector, check_query

OVERSAMPLING = 3.0  # int8 vectors with rescoring then find what the full vectors find (recall 0.999)


class PlannedSearch(VectorIndex):
    """An index that searches through its graph, unless few points match the filter."""

    FULL_SCAN_POINTS = 50_000  # at most this number of points are compared one by one; in Edge, this takes 2 ms
    EF = 512  # the candidates of a search in a graph of a million points, from which Edge derives those of other sizes
    FILTERED_EF = 4096  # those with a filter that keeps many points, among which the query has no near neighbours
    CANDIDATES = 100  # of each graph, if a search uses two
    CANDIDATES_PER_RESULT = 4  # at least as many as a search in the graph keeps, so that deep searches miss few points

    def search(
        self, vector: Vector, k: int, filter: Filter = NO_FILTER, *, exact: bool = False, by_look: bool = False
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        nearest = partial(self._nearest, check_query(vector, self.dimension), by_look and self.look > 0)
        if not filter or exact:
            return nearest(k, filter, exact, candidates=self.CANDIDATES_PER_RESULT * k)
        return self._filtered(nearest, k, filter)

    @abstractmethod
    def _filtered(self, nearest: Nearest, k: int, filter: Filter) -> list[Hit]:
        """Return the k nearest points that a filter matches."""

    @abstractmethod
    def _nearest(
        self, query: Vector, by_look: bool, k: int, filter: Filter, exact: bool, *, candidates: int = 0
    ) -> list[Hit]:
        """Search by the whole vectors; `by_look` scores the candidates of both graphs by the whole vectors, exactly."""
