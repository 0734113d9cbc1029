"""The layout of an Edge shard: its vectors, its payload indexes, and the points of an index as it stores them."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import qdrant_edge as qdrant

from retrieval.columns.kinds import Kind
from retrieval.index.edge_filter import payload_index
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.index.records import matrix
from retrieval.index.vectors import LOOK, WHOLE, Vector

EdgeVector = list[float] | qdrant.SparseVector | list[list[float]]
VectorParams = qdrant.EdgeVectorParams | dict[str, qdrant.EdgeVectorParams]

FIRST_FIELDS: dict[str, Kind] = {"label": INDEXED_FIELDS["label"]}  # that have a payload index from the beginning

# Points as they are sent to another process: ids, vectors float32 [points, d], and payloads.
Batch = tuple[list[uuid.UUID], Vector, list[dict[str, Any]]]


def create_shard(
    folder: Path, dimension: int, look: int, fields: Mapping[str, Kind] = FIRST_FIELDS
) -> qdrant.EdgeShard:
    """Create an empty shard in a new folder.

    Args:
        dimension: length of the vectors.
        look: length of their part look, which gets a separate graph; 0 if they have one part.
        fields: the fields that get payload indexes, and what they hold.
    """
    folder.mkdir(parents=True)
    created = qdrant.EdgeShard.create(
        str(folder),
        qdrant.EdgeConfig(
            vectors=vector_params(dimension, look),
            optimizers=qdrant.EdgeOptimizersConfig(default_segment_number=1),
        ),
    )
    for field, kind in fields.items():
        created.update(payload_index(field, kind))
    return created


def vector_params(
    dimension: int, look: int, quantization: qdrant.ScalarQuantizationConfig | None = None
) -> VectorParams:
    """Return the vectors of a shard: one without a name, or, if there is a part look, it and the whole vector."""

    def of_length(size: int) -> qdrant.EdgeVectorParams:
        return qdrant.EdgeVectorParams(size, qdrant.Distance.Cosine, quantization_config=quantization)

    return {WHOLE: of_length(dimension), LOOK: of_length(look)} if look else of_length(dimension)


def stored_vector(vector: Vector, look: int) -> list[float] | dict[str, EdgeVector]:
    """Return a vector as the shard stores it: the part look is stored a second time, for its own graph."""
    if not look:
        return as_edge(vector)
    return {WHOLE: as_edge(vector), LOOK: as_edge(vector[-look:])}


def as_edge(vector: Vector) -> list[float]:
    """Return a vector as it is: Edge accepts NumPy arrays without copying them, which its type hints do not say."""
    return cast(list[float], vector)


def batch_of(records: Sequence[qdrant.Record], dimension: int) -> Batch:
    """Return records with vectors and payloads as a batch."""
    ids, vectors = matrix(records, dimension)
    return ids, vectors, [record.payload or {} for record in records]


def write_batch(shard: qdrant.EdgeShard, batch: Batch, look: int) -> None:
    """Write a batch to a shard, replacing points with the same ids."""
    stored = [(id, stored_vector(vector, look), payload) for id, vector, payload in zip(*batch, strict=True)]
    points = [qdrant.Point(*point) for point in stored]
    shard.update(qdrant.UpdateOperation.upsert_points(points))
