"""The types of fields, limits and base classes that several schemas share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

API = "/api/v1"
MAX_BATCH = 100  # searches or photos in one request
MAX_OFFSET = 10_000

Label = Annotated[str, Field(min_length=1, max_length=500)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Look = Annotated[
    Fraction | SkipJsonSchema[None],
    Field(description="weight of the part look, from 0, same kind, to 1, same look; by default, that of the model"),
]
WHERE = 'only photos with these values of columns, for example {"price": {"gte": 10}}; docs/api.md describes filters'
WhereText = Annotated[
    Annotated[str, Field(max_length=100_000)] | SkipJsonSchema[None], Field(description=f"{WHERE}; JSON as text")
]
Uri = Annotated[str | None, Field(description="null for requests that may not see where photos are on the server")]
ShownPath = Annotated[str, Field(description="below the library or, outside of it, below the source that was indexed")]
Width = Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
Height = Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]


class RequestModel(BaseModel):
    """A part of a request; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class PageOptions(RequestModel):
    """A page of a list."""

    limit: int = Field(100, ge=1, le=1000, description="maximum number of items")
    offset: int = Field(0, ge=0, le=1_000_000_000, description="number of items to skip")
