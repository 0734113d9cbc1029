"""What the address of a search says, and how it is written."""

import base64
import uuid
from typing import Annotated, Any

import numpy as np
from flask import url_for
from pydantic import BaseModel, Field

from retrieval.errors import BadQuery
from retrieval.index import Filter
from retrieval.index.vectors import Vector
from retrieval.search import SearchParameters
from web.schemas import DEEPEST_OFFSET, CropBox, CropText, Label

PAGE_SIZE = 24
# Each takes some 45 characters of an address that may have 8,190.
MOST_EXAMPLES = 50

Examples = Annotated[list[uuid.UUID], Field(max_length=MOST_EXAMPLES)]


class PageQuery(BaseModel):
    """A search: from an indexed photo (`id`) or from an uploaded photo's embedding, refined by examples.

    `crop` is the part of the photo that is searched; an embedding is of that part already. `find` looks for labels to
    filter by, and changes nothing in what is found.
    """

    id: uuid.UUID | None = None
    vector: str = Field("", max_length=8000)
    model: str = ""
    crop: CropText = CropBox()
    like: Examples = []
    unlike: Examples = []
    label: Annotated[list[Label], Field(max_length=100)] = []
    min_score: float = Field(0, ge=0, le=1)
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET)
    find: str = Field("", max_length=500)

    @property
    def asks(self) -> bool:
        """Whether it is a search at all."""
        return bool(self.id or self.vector or self.like)

    def options(self) -> SearchParameters:
        """The same for the searcher."""
        labels = tuple(dict.fromkeys(self.label))
        return SearchParameters(PAGE_SIZE, self.offset, Filter(labels), self.min_score or None)

    def address(self, **changes: object) -> str:
        """The page's address with this search, in its shortest form, changed as given."""
        query = self.model_copy(update=changes)
        whole = query.crop.crop() is None
        fields: dict[str, Any] = {
            "id": query.id,
            "vector": query.vector,
            "model": query.vector and query.model,
            "crop": "" if whole else crop_text(query.crop),
            "like": query.like,
            "unlike": query.unlike,
            "label": query.label,
            "min_score": query.min_score and f"{query.min_score:g}",
            "offset": query.offset,
        }
        return url_for("page.show", **{name: value for name, value in fields.items() if value})


def crop_text(crop: CropBox) -> str:
    """A part of a photo as an address holds it: `0.1,0.2,0.5,0.5`."""
    return ",".join(f"{part:.4g}" for part in (crop.x, crop.y, crop.width, crop.height))


def encode_int8(vector: Vector) -> str:
    """An embedding, short enough for an address: one signed byte a number, its cosine to the original above 0.9999."""
    scaled = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
    return base64.urlsafe_b64encode(scaled.tobytes()).decode().rstrip("=")


def decode_int8(text: str, dimension: int) -> Vector:
    """The embedding that an address holds, float32 [dimension], of unit length.

    Raises:
        BadQuery: the address was cut.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    if len(data) != dimension:
        raise BadQuery("This link is incomplete.", "Copy it again, whole, or search with the photo itself.")
    vector = np.frombuffer(data, np.int8).astype(np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1.0)
