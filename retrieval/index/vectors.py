"""Vectors: their type, and which of them can be searched for."""

import numpy as np
import numpy.typing as npt

from retrieval.errors import BadQuery

Vector = npt.NDArray[np.float32]

WHOLE, LOOK = "embedding", "look"  # the vectors of a point, if its embedding has two parts


def check_query(vector: Vector, dimension: int) -> Vector:
    """Return the query as float32 [dimension]; raises `BadQuery` if it has another shape or no direction."""
    query = np.asarray(vector, np.float32)
    if query.shape != (dimension,):
        raise BadQuery(f"The query vector has shape {query.shape}; this index holds vectors of {dimension} numbers.")
    if not has_direction(query):
        raise BadQuery("The query vector must hold finite numbers, not all of them zero.")
    return query


def to_unit_length(vectors: Vector) -> Vector:
    """Divide the last axis by its Euclidean length; vectors of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def has_direction(vector: Vector) -> bool:
    """Whether a vector can be compared with others: its numbers are finite, and not all of them zero."""
    return bool(np.isfinite(vector).all() and vector.any())
