"""A whole index in memory, to compare all its photos with each other."""

from dataclasses import dataclass

import numpy as np

from retrieval.errors import NotFound
from retrieval.index import Payload, VectorIndex
from retrieval.neighbours import Embeddings


@dataclass(frozen=True, slots=True)
class Gallery:
    """The photos of an index, and their embeddings: float32 [photos, d], unit length; 0.6 GB for a million photos."""

    photos: list[Payload]
    embeddings: Embeddings


def read_gallery(index: VectorIndex) -> Gallery:
    """Read every point of an index; raises `NotFound` where it is empty."""
    photos: list[Payload] = []
    embeddings = np.empty((index.count(), index.dimension), np.float32)
    for position, point in enumerate(index.scroll()):
        if position == len(embeddings):
            break  # indexed since then
        photos.append(point.payload)
        embeddings[position] = point.vector
    if not photos:
        raise NotFound(f"The index of {index.model} holds no photos.", "Index some with `lookalike index FOLDER`.")
    return Gallery(photos, embeddings[: len(photos)])
