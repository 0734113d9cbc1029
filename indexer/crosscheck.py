"""The cross-check: comparing an index with scikit-learn's exact nearest neighbours of the same vectors."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from indexer.batches import batches
from indexer.gallery import draw_points
from retrieval.cancellation import CancellationToken, raise_if_cancelled
from retrieval.errors import LookalikeError, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import Hit, Point, VectorIndex
from retrieval.index.vectors import Vector, to_unit_length
from retrieval.photo_ref import display_uri
from retrieval.settings import Settings
from retrieval.top_k import top_k

SAMPLE = 200
NEIGHBOURS = 10
DEEP = 100  # neighbours of a second, deeper search for each query
MIN_RECALL = 0.99
MIN_DEEP_RECALL = 0.95
LOOKS = {"0": 0, "1": 1}  # weights of look with which an index of two parts is checked
TIE = 1e-6  # results with scores this close may come in either order
MAX_SCORE_ERROR = 1e-3
PAGES = 50  # of 1,000 vectors, in memory at the same time
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A query photo for which the index missed neighbours, returned wrong ones, or returned wrong scores."""

    query: str
    missing: list[str]
    unexpected: list[str]
    score_error: float


@dataclass(frozen=True, slots=True)
class Recalls:
    """The shares of exact neighbours that the index found; ties count as found."""

    recall_at_k: float
    recall_at_100: float


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The result of a cross-check."""

    model: str
    queries: int
    k: int  # number of neighbours compared for each
    recall_at_k: float  # share of exact neighbours, without the query itself, that the index found; ties count as found
    max_score_error: float  # largest difference between a score of the index and the exact score
    passed: bool  # whether recall_at_k, for each weight of look, and scores are good enough
    checked_at: str  # ISO 8601 in UTC
    disagreements: list[Disagreement] = field(default_factory=list)  # queries with a difference that is not a tie
    recall_at_100: float | None = None  # None in a result of an older version
    by_look: dict[str, Recalls] | None = None  # weight of look in the query → recalls; None for embeddings of one part

    @property
    def warning(self) -> str | None:
        """A sentence about a low recall of deep searches, which does not fail the check; None if there is none."""
        deep = [of_look.recall_at_100 for of_look in (self.by_look or {}).values()]
        lowest = min([1.0 if self.recall_at_100 is None else self.recall_at_100, *deep])
        if lowest >= MIN_DEEP_RECALL:
            return None
        return f"Recall@{DEEP} is {lowest:.4f}: later pages of results may lack some photos."

    def summary(self) -> str:
        """Return the result in a sentence, with the first photos that disagree."""
        concerned = "".join(f" {display_uri(found.query)}" for found in self.disagreements[:MOST_NAMED])
        return (
            f"Cross-check: recall@{self.k} {self.recall_at_k:.4f}{self._further_recalls()} over {self.queries} queries"
            f", largest score error {self.max_score_error:.1e}, {len(self.disagreements)} disagreements"
            + (f":{concerned}." if concerned else ".")
        )

    def _further_recalls(self) -> str:
        """The other recalls, as a part of a sentence."""
        by_look = "".join(f", {of.recall_at_k:.4f} with look {look}" for look, of in (self.by_look or {}).items())
        return by_look + ("" if self.recall_at_100 is None else f", recall@{DEEP} {self.recall_at_100:.4f}")


CROSS_CHECK = TypeAdapter(CrossCheck)


class _Search(NamedTuple):
    """A query: the vector of a point, or the same with other weights of its parts; float32 [d], unit length."""

    point: Point
    vector: Vector
    by_look: bool


class _Neighbour(NamedTuple):
    score: float
    id: uuid.UUID


class _Comparison(NamedTuple):
    """How many of the exact neighbours a search found, among the first k and the first 100."""

    found: int
    neighbours: int
    deep_found: int
    deep_neighbours: int
    disagreement: Disagreement

    @property
    def differs(self) -> bool:
        """Whether the first k differ from the exact neighbours by more than ties."""
        unexpected, score_error = self.disagreement.unexpected, self.disagreement.score_error
        return self.found < self.neighbours or bool(unexpected) or score_error > MAX_SCORE_ERROR


def cross_check(
    index: VectorIndex,
    *,
    sample: int = SAMPLE,
    k: int = NEIGHBOURS,
    min_recall: float = MIN_RECALL,
    cancellation: CancellationToken | None = None,
) -> CrossCheck:
    """Draw query photos, and compare the index's results with the exact ones.

    An index of two parts is also checked with queries of either part alone. The check fails if recall@k is below
    `min_recall` for one of these weights of look, or if a score is wrong. A query's own point does not count.

    Raises:
        NotFound: the index is empty.
        Cancelled: the check was cancelled.
    """
    points = draw_points(index, sample)
    searches = [_Search(point, point.vector, by_look=False) for point in points]
    for look in LOOKS.values() if index.look else ():
        searches += [_Search(point, _weighted(point.vector, index.look, look), by_look=look == 1) for point in points]
    neighbours = _exact(index, searches, max(k, DEEP), cancellation)
    comparisons = [_compare(index, search, truth, k) for search, truth in zip(searches, neighbours, strict=True)]
    recalls = [_recalls(comparisons[start : start + len(points)]) for start in range(0, len(searches), len(points))]
    score_error = max(comparison.disagreement.score_error for comparison in comparisons)
    return CrossCheck(
        model=index.model,
        queries=len(points),
        k=k,
        recall_at_k=recalls[0].recall_at_k,
        recall_at_100=recalls[0].recall_at_100,
        by_look=dict(zip(LOOKS, recalls[1:], strict=True)) if index.look else None,
        max_score_error=score_error,
        passed=min(of.recall_at_k for of in recalls) >= min_recall and score_error <= MAX_SCORE_ERROR,
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        disagreements=[comparison.disagreement for comparison in comparisons if comparison.differs],
    )


def save_cross_check(settings: Settings, result: CrossCheck) -> None:
    """Save the last result of a model, also for other machines that share its Redis server."""
    path = _file(settings, result.model)
    content = CROSS_CHECK.dump_json(result, indent=2)
    with os_errors_as(LookalikeError, f"{path} can't be written", "Free disk space."):
        write_atomically(path, content + b"\n")
    if settings.redis_url:
        from indexer.redis_client import store_value  # noqa: PLC0415 - not needed without Redis

        store_value(settings, _shared_name(result.model), content)


def load_cross_check(settings: Settings, model: str) -> CrossCheck | None:
    """Return the last result of a model on any machine; None if it was never cross-checked.

    Raises `LookalikeError` if its file is damaged or can't be read.
    """
    if settings.redis_url:
        from indexer.redis_client import load_value  # noqa: PLC0415 - not needed without Redis

        with suppress(LookalikeError, ValidationError):  # fall back to the file
            if content := load_value(settings, _shared_name(model)):
                return CROSS_CHECK.validate_json(content)
    path = _file(settings, model)
    try:
        return CROSS_CHECK.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise LookalikeError(f"{path} can't be read ({reason}).", "Run `lookalike crosscheck` to replace it.") from None


def _file(settings: Settings, model: str) -> Path:
    return settings.home / "crosscheck" / f"{model}.json"


def _shared_name(model: str) -> str:
    return f"lookalike:crosscheck:{model}"


def _weighted(vector: Vector, look_length: int, look: int) -> Vector:
    """Return the query, a unit vector, that gives look, the last part of a vector, all of the weight or none."""
    part = vector.copy()
    part[: len(part) - look_length] *= 1 - look
    part[len(part) - look_length :] *= look
    return to_unit_length(part)


def _exact(
    index: VectorIndex, searches: Sequence[_Search], depth: int, cancellation: CancellationToken | None
) -> list[list[_Neighbour]]:
    """Return the exact neighbours of each query, highest score first, without itself; the index is read in batches."""
    queries = np.stack([search.vector for search in searches])
    best: list[list[_Neighbour]] = [[] for _ in searches]
    for pages in batches(index.scroll_vectors(), PAGES):
        raise_if_cancelled(cancellation)
        ids = list(chain.from_iterable(ids for ids, _ in pages))
        if not ids:
            continue
        scores, positions = top_k(np.concatenate([vectors for _, vectors in pages]), queries, depth + 1)
        for row, found in enumerate(zip(scores.tolist(), positions.tolist(), strict=True)):
            own = searches[row].point.id
            best[row] += [_Neighbour(score, ids[at]) for score, at in zip(*found, strict=True) if ids[at] != own]
            best[row] = nlargest(depth, best[row])
    return best


def _compare(index: VectorIndex, search: _Search, truth: Sequence[_Neighbour], k: int) -> _Comparison:
    """Search for k and for 100 photos, and compare the results with the exact neighbours of the query."""
    hits, deep_hits = (_others(index, search, depth) for depth in (k, DEEP))
    exact = _exact_scores(index, search, [*hits, *deep_hits])
    nearest, deep_truth = truth[:k], truth[:DEEP]
    wrong, deep_wrong = _wrong(hits, exact, nearest), _wrong(deep_hits, exact, deep_truth)
    found = len(hits) - len(wrong)
    missed = [neighbour.id for neighbour in nearest if neighbour.id not in hits] if found < len(nearest) else []
    return _Comparison(
        found,
        len(nearest),
        len(deep_hits) - len(deep_wrong),
        len(deep_truth),
        Disagreement(
            search.point.payload.uri,
            [payload.uri for payload in index.get(missed).values()],
            [hit.payload.uri for hit in wrong],
            max((abs(hits[photo].score - exact[photo]) for photo in hits.keys() & exact.keys()), default=0.0),
        ),
    )


def _others(index: VectorIndex, search: _Search, depth: int) -> dict[uuid.UUID, Hit]:
    """Return the results of a search for the nearest photos other than the query itself."""
    found = index.search(search.vector, depth + 1, by_look=search.by_look)
    return {hit.id: hit for hit in [hit for hit in found if hit.id != search.point.id][:depth]}


def _exact_scores(index: VectorIndex, search: _Search, photos: Sequence[uuid.UUID]) -> dict[uuid.UUID, float]:
    query = search.vector.astype(np.float64)
    return {photo: float(vector.astype(np.float64) @ query) for photo, vector in index.vectors(photos).items()}


def _wrong(hits: Mapping[uuid.UUID, Hit], exact: Mapping[uuid.UUID, float], truth: Sequence[_Neighbour]) -> list[Hit]:
    """Return the hits that are farther away than the last of the exact neighbours."""
    furthest = truth[-1].score - TIE if truth else 1.0
    return [hit for hit in hits.values() if exact.get(hit.id, -1.0) < furthest]


def _recalls(comparisons: Sequence[_Comparison]) -> Recalls:
    found, of, deep_found, deep_of = (sum(column) for column in zip(*(each[:4] for each in comparisons), strict=True))
    return Recalls(round(found / of, 6) if of else 1.0, round(deep_found / deep_of, 6) if deep_of else 1.0)
