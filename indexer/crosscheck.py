"""The cross-check: does the index find what scikit-learn's exact nearest neighbours find over the same vectors?"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nlargest
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from indexer.batch import batches
from indexer.gallery import draw_points
from retrieval.errors import LookalikeError
from retrieval.files import write_atomically
from retrieval.index import Hit, Point, VectorIndex
from retrieval.photo_ref import display_uri
from retrieval.settings import Settings
from retrieval.top_k import top_k

SAMPLE = 200
NEIGHBOURS = 10
MIN_RECALL = 0.99
TIE = 1e-6  # two scores this close may come in either order
MAX_SCORE_ERROR = 1e-3
COMPARED_AT_ONCE = 50_000  # vectors in memory
FIRST_CONCERNED = 5


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A query photo for which the index missed true neighbours, found others, or gave wrong scores."""

    query: str
    missing: list[str]
    unexpected: list[str]
    score_error: float


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """The result of a cross-check.

    Args:
        model: the model whose index was asked.
        queries: how many photos were drawn.
        k: how many neighbours of each were compared.
        recall_at_k: the share of true neighbours that the index found, ties counted as found.
        max_score_error: the largest difference between the index's score of a photo and the exact one.
        passed: whether recall and scores were good enough.
        checked_at: when, ISO 8601 in UTC.
        disagreements: the queries with a difference that is no tie.
    """

    model: str
    queries: int
    k: int
    recall_at_k: float
    max_score_error: float
    passed: bool
    checked_at: str
    disagreements: list[Disagreement] = field(default_factory=list)

    def summary(self) -> str:
        """The figures, and the first of the photos concerned, in a sentence."""
        concerned = "".join(f" {display_uri(found.query)}" for found in self.disagreements[:FIRST_CONCERNED])
        return (
            f"Cross-check: recall@{self.k} {self.recall_at_k:.4f} over {self.queries} queries, largest score error "
            f"{self.max_score_error:.1e}, {len(self.disagreements)} disagreements"
            + (f":{concerned}." if concerned else ".")
        )


CROSS_CHECK = TypeAdapter(CrossCheck)


@dataclass(frozen=True, slots=True)
class _Neighbour:
    score: float
    id: uuid.UUID
    uri: str


def cross_check(
    index: VectorIndex, *, sample: int = SAMPLE, k: int = NEIGHBOURS, min_recall: float = MIN_RECALL
) -> CrossCheck:
    """Draw query photos, and compare the index's answers with the exact ones.

    Args:
        index: the index.
        sample: how many photos to draw.
        k: how many neighbours of each to compare.
        min_recall: the recall@k below which the check fails; it fails as well where a score is wrong.

    Raises:
        NotFound: the index is empty.
    """
    queries = draw_points(index, sample)
    neighbours = _exact(index, queries, k)
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
    """Keep a result as the last one of its model, for the other machines as well where they share a Redis server."""
    path = _file(settings, result.model)
    content = CROSS_CHECK.dump_json(result, indent=2)
    try:
        write_atomically(path, content + b"\n")
    except OSError as error:
        raise LookalikeError(f"{path} can't be written ({error.strerror}).", "Make room or mend permissions.") from None
    if settings.redis_url:
        from indexer.redis_client import store_value  # noqa: PLC0415 - not needed without Redis

        store_value(settings, _shared_name(result.model), content)


def load_cross_check(settings: Settings, model: str) -> CrossCheck | None:
    """The last result of a model, on whatever machine; None where it was never cross-checked.

    Raises:
        LookalikeError: its file is damaged or can't be read.
    """
    if settings.redis_url:
        from indexer.redis_client import load_value  # noqa: PLC0415 - not needed without Redis

        with suppress(LookalikeError, ValidationError):  # there may be a file still
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


def _exact(index: VectorIndex, queries: Sequence[Point], k: int) -> list[list[_Neighbour]]:
    """The k true neighbours of each query, highest score first; the gallery passes through memory in pieces."""
    wanted = np.stack([query.vector for query in queries])
    best: list[list[_Neighbour]] = [[] for _ in queries]
    for piece in batches(index.scroll(), COMPARED_AT_ONCE):
        scores, positions = top_k(np.stack([point.vector for point in piece]), wanted, k)
        for row, (row_scores, row_positions) in enumerate(zip(scores, positions, strict=True)):
            found = [
                _Neighbour(float(score), piece[at].id, piece[at].payload.uri)
                for score, at in zip(row_scores, row_positions, strict=True)
            ]
            best[row] = nlargest(k, best[row] + found, key=lambda neighbour: neighbour.score)
    return best


def _compare(index: VectorIndex, query: Point, truth: Sequence[_Neighbour], k: int) -> tuple[int, Disagreement]:
    """How many true neighbours the index found, and where it differs."""
    hits = {hit.id: hit for hit in index.search(query.vector, k)}
    exact = _exact_scores(index, query, hits)
    furthest = truth[-1].score - TIE
    wrong = [hit for hit in hits.values() if exact.get(hit.id, -1.0) < furthest]
    error = max((abs(hits[photo].score - score) for photo, score in exact.items()), default=0.0)
    found = len(hits) - len(wrong)
    missing = [neighbour.uri for neighbour in truth if neighbour.id not in hits] if found < len(truth) else []
    return found, Disagreement(query.payload.uri, missing, [hit.payload.uri for hit in wrong], error)


def _exact_scores(index: VectorIndex, query: Point, hits: dict[uuid.UUID, Hit]) -> dict[uuid.UUID, float]:
    vectors = index.vectors(list(hits))
    exact = query.vector.astype(np.float64)
    return {photo: float(vector.astype(np.float64) @ exact) for photo, vector in vectors.items()}
