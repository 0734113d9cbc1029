"""The table that an export writes: its columns, and batches of its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from retrieval.index.vectors import Vector

Type = Literal["text", "integer", "number", "flag", "vector"]
Values = (
    Sequence[Any] | npt.NDArray[np.float32]
)  # of a column: one for each photo; float32 [photos, length] for vectors


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export."""

    name: str
    type: Type
    length: int = 0  # of a vector; 0 if the model has no such part
    has_lists: bool = False  # whether a photo has several values


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of some photos, by column, and their whole embeddings, float32 [photos, d]."""

    values: Mapping[str, Values]
    vectors: Vector
