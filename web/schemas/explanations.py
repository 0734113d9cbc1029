"""Why two photos match."""

import uuid

from pydantic import BaseModel, Field

from retrieval import formats
from web.schemas.fields import Look, RequestModel
from web.schemas.queries import CropBox, CropText


class UploadedMatch(RequestModel):
    """An uploaded query photo and one of its results."""

    image: bytes = Field(description=f"the query, a {formats.LISTED} file")
    crop: CropText = CropBox()
    look: Look = None
    result: uuid.UUID = Field(description="id of the result")


class IndexedMatch(RequestModel):
    """An indexed query photo and one of its results."""

    id: uuid.UUID = Field(description="id of the query")
    crop: CropBox = Field(CropBox(), description="the part of the query that was searched")
    look: Look = None
    result: uuid.UUID = Field(description="id of the result")


class HeatMap(BaseModel):
    """The contribution of each region of a photo to its similarity with another photo."""

    seen: CropBox = Field(description="the part of the photo that is the network's input, covered by the grid")
    contributions: list[list[float]] = Field(
        description="rows from top to bottom, each from left to right; their sum is the score, and a negative value "
        "lowers it"
    )


class Explanation(BaseModel):
    """Why two photos match: their score as a sum over the regions of each photo."""

    model: str = Field(description="id of the model")
    score: float = Field(description="their score with this weight of look, −1 to 1")
    query: HeatMap
    result: HeatMap
