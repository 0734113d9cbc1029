"""The map of all photos."""

import uuid

from pydantic import BaseModel, Field


class Map(BaseModel):
    """A 2-D projection of all photos of an index, or of a sample, in which similar photos are close together."""

    model: str
    computed_at: str = Field(description="ISO 8601 in UTC")
    changed: int = Field(description="about how many photos were indexed or removed since then")
    total: int = Field(description="number of photos in the index when the map was computed")
    labels: list[str]
    points: "MapPoints"


class MapPoints(BaseModel):
    """The points of a map as columns of equal length."""

    id: list[uuid.UUID]
    x: list[float] = Field(description="0 to 1")
    y: list[float] = Field(description="0 to 1")
    label: list[int | None] = Field(description="indexes into `labels`; null: no label")
