"""Terms of a mixed query: words, photos and embeddings, each with a weight."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.index.vectors import Vector


@dataclass(frozen=True, slots=True)
class Term:
    """Words, an indexed photo or an embedding, float32 [d], with a weight: negative if results should differ."""

    weight: float = 1
    text: str | None = None
    photo: uuid.UUID | None = None
    vector: Vector | None = None


def are_words(terms: Sequence[Term]) -> bool:
    """Whether the terms are one text alone, the scores of which are calibrated."""
    return len(terms) == 1 and terms[0].text is not None and terms[0].weight > 0


def are_photos(terms: Sequence[Term]) -> bool:
    """Whether the terms are photos, at least one of which results should resemble."""
    return all(term.text is None for term in terms) and any(term.weight > 0 for term in terms)
