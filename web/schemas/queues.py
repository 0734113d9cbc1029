"""Queues of photos to review."""

import uuid

from pydantic import BaseModel, Field

from indexer.review.queues import QueueName
from web.schemas.photos import Photo


class QueueCount(BaseModel):
    """A queue of photos to review, and the number of photos that wait in it."""

    name: QueueName
    total: int


class Queues(BaseModel):
    """The queues of photos to review."""

    computed_at: str = Field(description="ISO 8601 in UTC")
    changed: int = Field(description="about how many photos were indexed or removed since then")
    queues: list[QueueCount]


class QueuedPhoto(BaseModel):
    """A photo to review, and why."""

    photo: Photo
    suggested: str | None = Field(description="the label that most of the nearest photos vote for; null: no suggestion")
    confidence: float | None = Field(description="probability that the suggested label is right, 0 to 1")
    margin: float | None = Field(
        description="lead of the suggested label over the photo's own label, or over the second one if it has none, as "
        "a share of the votes, 0 to 1"
    )
    duplicate_of: uuid.UUID | None = Field(description="id of the photo of which it is a duplicate")
    reason: str = Field(description="why it is in the queue, as a sentence")


class QueuedPhotos(BaseModel):
    """The photos that wait in a queue, most important first."""

    name: QueueName
    computed_at: str = Field(description="ISO 8601 in UTC")
    photos: list[QueuedPhoto]
    total: int
