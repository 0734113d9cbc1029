"""Reads the photos of an index into memory: all of them, or a sample."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from indexer.batches import batches
from retrieval.errors import NotFound
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.vectors import Vector
from retrieval.parts import Parts
from retrieval.top_k import Embeddings

FETCHED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Gallery:
    """The photos of an index, and their embeddings: float32 [photos, d], unit length; 1.2 GB for a million photos."""

    photos: list[Payload]
    embeddings: Embeddings
    parts: Parts
    ids: list[uuid.UUID]

    def part(self, name: str) -> Embeddings:
        """Return one part of the embeddings, float32 [photos, length], unit length; the only part if there is one."""
        return self.parts.one(self.embeddings, name)


def read_gallery(index: VectorIndex, parts: Parts) -> Gallery:
    """Read every point of an index, whose embeddings have these parts; raises `NotFound` if it is empty."""
    photos: list[Payload] = []
    ids: list[uuid.UUID] = []
    embeddings = np.empty((index.count(), index.dimension), np.float32)
    for position, point in enumerate(index.scroll()):
        if position == len(embeddings):
            break  # indexed since it was counted
        photos.append(point.payload)
        ids.append(point.id)
        embeddings[position] = point.vector
    if not photos:
        raise _empty(index)
    return Gallery(photos, embeddings[: len(photos)], parts, ids)


def draw_points(index: VectorIndex, most: int) -> list[Point]:
    """Return at most `most` points of an index, drawn at random; raises `NotFound` if it is empty."""
    photos = index.sample(most)
    if not photos:
        raise _empty(index)
    return [Point(photo, vector, photos[photo]) for photo, vector in read_vectors(index, photos).items()]


def read_vectors(index: VectorIndex, photos: Iterable[uuid.UUID]) -> dict[uuid.UUID, Vector]:
    """Return the vectors of those photos that an index holds; one may have been removed since it was drawn."""
    return {photo: vector for ids in batches(photos, FETCHED_AT_ONCE) for photo, vector in index.vectors(ids).items()}


def _empty(index: VectorIndex) -> NotFound:
    return NotFound(f"The index of {index.model} holds no photos.", "Index some with `lookalike index FOLDER`.")
