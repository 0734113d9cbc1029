"""Terms of a mixed query: words, photos and embeddings, each with a weight."""

import uuid
from dataclasses import dataclass

from retrieval.index.vectors import Vector


@dataclass(frozen=True, slots=True)
class Term:
    """One of words, an indexed photo and an embedding, float32 [d], with a weight; if it is negative, away from it."""

    weight: float = 1
    text: str | None = None
    photo: uuid.UUID | None = None
    vector: Vector | None = None
