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


def has_direction(vector: Vector) -> bool:
    """Whether a vector can be compared with others: its numbers are finite, and not all of them zero."""
    return bool(np.isfinite(vector).all() and vector.any())
