"""The cross-check: comparing an index with scikit-learn's exact nearest neighbours of the same vectors."""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from indexer.batch import batches
from indexer.gallery import draw_points
from retrieval.cancellation import CancellationToken, raise_if_cancelled
from retrieval.errors import LookalikeError, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import Point, VectorIndex
from retrieval.photo_ref import display_uri
from retrieval.settings import Settings
from retrieval.top_k import top_k

SAMPLE = 200
NEIGHBOURS = 10
MIN_RECALL = 0.99
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
class CrossCheck:
    """The result of a cross-check."""

    model: str
    queries: int
    k: int  # number of neighbours compared for each
    recall_at_k: float  # share of exact neighbours that the index found; ties count as found
    max_score_error: float  # largest difference between a score of the index and the exact score
    passed: bool  # whether recall and scores are good enough
    checked_at: str  # ISO 8601 in UTC
    disagreements: list[Disagreement] = field(default_factory=list)  # queries with a difference that is not a tie

    def summary(self) -> str:
        """Return the result in a sentence, with the first photos that disagree."""
        concerned = "".join(f" {display_uri(found.query)}" for found in self.disagreements[:MOST_NAMED])
        return (
            f"Cross-check: recall@{self.k} {self.recall_at_k:.4f} over {self.queries} queries, largest score error "
            f"{self.max_score_error:.1e}, {len(self.disagreements)} disagreements"
            + (f":{concerned}." if concerned else ".")
        )


CROSS_CHECK = TypeAdapter(CrossCheck)


class _Neighbour(NamedTuple):
    score: float
    id: uuid.UUID


def cross_check(
    index: VectorIndex,
    *,
    sample: int = SAMPLE,
    k: int = NEIGHBOURS,
    min_recall: float = MIN_RECALL,
    cancellation: CancellationToken | None = None,
) -> CrossCheck:
    """Draw query photos, and compare the index's results with the exact ones.

    The check fails if recall@k is below `min_recall`, or if a score is wrong.

    Raises:
        NotFound: the index is empty.
        Cancelled: the check was cancelled.
    """
    queries = draw_points(index, sample)
    neighbours = _exact(index, queries, k, cancellation)
    comparisons = [_compare(index, query, truth, k) for query, truth in zip(queries, neighbours, strict=True)]
    recall = sum(found for found, _ in comparisons) / sum(map(len, neighbours))
    score_error = max(disagreement.score_error for _, disagreement in comparisons)
    return CrossCheck(
        model=index.model,
        queries=len(queries),
        k=k,
        recall_at_k=round(recall, 6),
        max_score_error=score_error,
        passed=recall >= min_recall and score_error <= MAX_SCORE_ERROR,
        checked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        disagreements=[
            disagreement
            for (found, disagreement), truth in zip(comparisons, neighbours, strict=True)
            if found < len(truth) or disagreement.unexpected or disagreement.score_error > MAX_SCORE_ERROR
        ],
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


def _exact(
    index: VectorIndex, queries: Sequence[Point], k: int, cancellation: CancellationToken | None
) -> list[list[_Neighbour]]:
    """Return the k exact neighbours of each query, highest score first; the index is read in batches."""
    wanted = np.stack([query.vector for query in queries])
    best: list[list[_Neighbour]] = [[] for _ in queries]
    for pages in batches(index.scroll_vectors(), PAGES):
        raise_if_cancelled(cancellation)
        ids = list(chain.from_iterable(ids for ids, _ in pages))
        if not ids:
            continue
        scores, positions = top_k(np.concatenate([vectors for _, vectors in pages]), wanted, k)
        for row, found in enumerate(zip(scores.tolist(), positions.tolist(), strict=True)):
            best[row] += [_Neighbour(score, ids[at]) for score, at in zip(*found, strict=True)]
            best[row] = nlargest(k, best[row])
    return best


def _compare(index: VectorIndex, query: Point, truth: Sequence[_Neighbour], k: int) -> tuple[int, Disagreement]:
    """Return how many exact neighbours the index found, and how its results differ."""
    hits = {hit.id: hit for hit in index.search(query.vector, k)}
    vectors, exact_query = index.vectors(list(hits)), query.vector.astype(np.float64)
    exact = {photo: float(vector.astype(np.float64) @ exact_query) for photo, vector in vectors.items()}
    furthest = truth[-1].score - TIE
    wrong = [hit for hit in hits.values() if exact.get(hit.id, -1.0) < furthest]
    error = max((abs(hits[photo].score - score) for photo, score in exact.items()), default=0.0)
    found = len(hits) - len(wrong)
    missed = [neighbour.id for neighbour in truth if neighbour.id not in hits] if found < len(truth) else []
    missing = [payload.uri for payload in index.get(missed).values()]
    return found, Disagreement(query.payload.uri, missing, [hit.payload.uri for hit in wrong], error)
