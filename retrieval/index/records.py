"""Records of Qdrant, embedded or from a server, converted to the types of `retrieval.index.base`.

The records of the two engines differ in class, and have the same fields.
"""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from retrieval.index.base import Hit, Point, StoredPoints
from retrieval.index.payload import Payload, checked
from retrieval.index.vectors import WHOLE, Vector
from retrieval.photo_ref import Extra

MOST_LABELS = 1_000_000


def payloads(records: Iterable[Any]) -> dict[uuid.UUID, Payload]:
    """The payloads of records, by id."""
    return {_id(record): Payload.from_dict(record.payload) for record in records}


def extra(records: Iterable[Any]) -> list[Extra]:
    """The columns of manifests of records."""
    return [(record.payload or {}).get("extra") or {} for record in records]


def vectors(records: Iterable[Any]) -> dict[uuid.UUID, Vector]:
    """The vectors of records, by id."""
    return {_id(record): _vector(record) for record in records}


def points(records: Iterable[Any]) -> list[Point]:
    """Records that hold vector and payload."""
    return [Point(_id(record), _vector(record), Payload.from_dict(record.payload)) for record in records]


def stored(records: Sequence[Any], dimension: int) -> StoredPoints:
    """Records that hold vector and payload, as they are stored; raises `IndexUnreadable` if a payload is damaged."""
    ids, vectors = matrix(records, dimension)
    return StoredPoints(ids, vectors, [checked(record.payload or {}) for record in records])


def matrix(records: Sequence[Any], dimension: int) -> tuple[list[uuid.UUID], Vector]:
    """Ids and vectors of records, float32 [records, dimension]."""
    vectors = np.empty((len(records), dimension), np.float32)
    for row, record in enumerate(records):
        vectors[row] = _raw(record)
    return [_id(record) for record in records], vectors


def hits(scored: Iterable[Any]) -> list[Hit]:
    """Scored records; scores are clipped to [−1, 1], which rounding may exceed."""
    return [Hit(_id(hit), max(-1.0, min(1.0, hit.score)), Payload.from_dict(hit.payload)) for hit in scored]


def labels(facets: Iterable[Any]) -> dict[str, int]:
    """The counts of a facet's values, the most frequent first, then by name; Edge lists removed values with count 0."""
    counts = ((str(facet.value), facet.count) for facet in facets if facet.count)
    return dict(sorted(counts, key=lambda pair: (-pair[1], pair[0])))


def _id(record: Any) -> uuid.UUID:
    """A point's id, which one engine gives as a UUID and the other as text."""
    found = record.id  # Edge makes a new object at each access
    return found if isinstance(found, uuid.UUID) else uuid.UUID(str(found))


def _vector(record: Any) -> Vector:
    return np.asarray(_raw(record), np.float32)


def _raw(record: Any) -> Any:
    """The whole vector of a record, as the engine returns it."""
    vector = record.vector  # Edge makes a new list at each access
    return vector[WHOLE] if isinstance(vector, dict) else vector
