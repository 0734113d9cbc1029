"""The parts of an embedding, and their weights in a query.

A stored embedding has its parts side by side, each of unit length times the square root of its default weight, so that
its dot product with another one is the weighted sum of the parts' cosine similarities. A query for other weights scales
its own parts; the stored embeddings stay as they are. Source: MultiGrain (Berman et al. 2019, arXiv:1902.05509).
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.errors import BadQuery
from retrieval.index.vectors import to_unit_length

if TYPE_CHECKING:
    from retrieval.bundle_format import Part

KIND: Final = "kind"
LOOK: Final = "look"


class Parts:
    """The parts of a bundle's embeddings.

    Args:
        parts: as in `bundle.json`, in the order of the embedding.
    """

    def __init__(self, parts: "Sequence[Part]") -> None:
        self._parts = tuple(parts)

    @property
    def default_look(self) -> float | None:
        """The weight of the part look in stored embeddings; None if there is only one part."""
        return {part.name: part.weight for part in self._parts}[LOOK] if len(self._parts) > 1 else None

    def has(self, name: str) -> bool:
        """Whether the embeddings have a part of this name."""
        return any(part.name == name for part in self._parts)

    def look_or_default(self, look: float | None) -> float | None:
        """Return the weight of look in a query; raises `BadQuery` if it is not in 0…1, or if there is only one part."""
        if look is None:
            return self.default_look
        if self.default_look is None:
            raise BadQuery(
                f"The current model has one part, {self._parts[0].name}, so that look can't be weighted.",
                "Leave look out, or train a model with the recipe default.",
            )
        if not 0 <= look <= 1:
            raise BadQuery(f"look is {look:g}; it must be from 0 (same kind) to 1 (same look).")
        return look

    def query(self, embedding: npt.NDArray[np.float32], look: float | None = None) -> npt.NDArray[np.float32]:
        """Scale the parts of a query, so that its dot products with stored embeddings are scores of these weights.

        Args:
            embedding: float32 [d], an embedding or a combination of several; its parts need not have unit length.
            look: the weight of the part look, 0 to 1; None for the default weights.

        Returns:
            float32 [d], not of unit length unless the weights are the default ones.

        Raises:
            BadQuery: as `look_or_default`.
        """
        look = self.look_or_default(look)
        scaled = [
            to_unit_length(values)
            * (part.weight if look is None else self._weight(part, look))
            / math.sqrt(part.weight)
            for part, values in self._split(embedding)
        ]
        return np.concatenate(scaled, dtype=np.float32)

    def cosines(
        self, query: npt.NDArray[np.float32], embeddings: npt.NDArray[np.float32]
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the cosine similarity of each part of a query, float32 [d], and of embeddings, float32 [n, d]."""
        return {
            part.name: np.clip(to_unit_length(rows) @ to_unit_length(values), -1, 1)
            for (part, values), (_, rows) in zip(self._split(query), self._split(embeddings), strict=True)
        }

    def weighted(self, embeddings: npt.NDArray[np.float32], look: float | None) -> npt.NDArray[np.float32]:
        """Return embeddings, float32 [n, d], with other weights: cosines of two of them are scores of these weights.

        `look` is as in `query`.
        """
        look = self.look_or_default(look)
        if look is None:
            return embeddings
        scaled = [to_unit_length(rows) * math.sqrt(self._weight(part, look)) for part, rows in self._split(embeddings)]
        return np.concatenate(scaled, axis=-1, dtype=np.float32)

    def one(self, embeddings: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
        """Return one part of embeddings, float32 [n, d], as unit vectors; the other part if there is no such part."""
        rows = [rows for part, rows in self._split(embeddings) if part.name == name or len(self._parts) == 1]
        return to_unit_length(rows[0])

    def _weight(self, part: "Part", look: float) -> float:
        return look if part.name == LOOK else 1 - look

    def _split(self, embeddings: npt.NDArray[np.float32]) -> "Iterator[tuple[Part, npt.NDArray[np.float32]]]":
        start = 0
        for part in self._parts:
            yield part, embeddings[..., start : start + part.length]
            start += part.length
