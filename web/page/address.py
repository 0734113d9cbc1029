"""The URL of a search."""

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
from web.schemas import MAX_OFFSET, CropBox, CropText, Label

PAGE_SIZE = 24
# Each takes about 45 characters of a URL, which is limited to 8,190.
MAX_EXAMPLES = 50

Examples = Annotated[list[uuid.UUID], Field(max_length=MAX_EXAMPLES)]


class PageQuery(BaseModel):
    """A search by an indexed photo (`id`) or by the embedding of an uploaded one, refined by examples.

    `crop` is the part of the photo to search by; `vector` is already the embedding of that part. `find` filters the
    labels that are offered, not the results. `look` is the weight of the part look, by default that of the model.
    """

    id: uuid.UUID | None = None
    vector: str = Field("", max_length=8000)
    model: str = ""
    crop: CropText = CropBox()
    like: Examples = []
    unlike: Examples = []
    label: Annotated[list[Label], Field(max_length=100)] = []
    min_score: float = Field(0, ge=0, le=1)
    look: float | None = Field(None, ge=0, le=1)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    find: str = Field("", max_length=500)

    @property
    def is_search(self) -> bool:
        """Whether there is something to search by."""
        return bool(self.id or self.vector or self.like)

    def parameters(self) -> SearchParameters:
        """Convert it for the searcher."""
        labels = tuple(dict.fromkeys(self.label))
        return SearchParameters(PAGE_SIZE, self.offset, Filter(labels), self.min_score or None, look=self.look)

    def address(self, **changes: object) -> str:
        """Return the shortest URL of this search, with the given changes."""
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
            "look": None if query.look is None else f"{query.look:g}",
            "offset": query.offset,
        }
        return url_for("page.show", **{name: value for name, value in fields.items() if value})


def crop_text(crop: CropBox) -> str:
    """Format a part of a photo for a URL: `0.1,0.2,0.5,0.5`."""
    return ",".join(f"{part:.4g}" for part in (crop.x, crop.y, crop.width, crop.height))


def encode_int8(vector: Vector) -> str:
    """Encode an embedding for a URL with one signed byte per number.

    Its cosine to the original is at least 1 / √(1 + (d − 1) / 254²), 0.996 for d = 512, and above 0.9999 if the numbers
    are normally distributed.
    """
    scaled = np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8)
    return base64.urlsafe_b64encode(scaled.tobytes()).decode().rstrip("=")


def decode_int8(text: str, dimension: int) -> Vector:
    """Decode an embedding, float32 [dimension], of unit length; raises `BadQuery` if the URL is truncated."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    if len(data) != dimension:
        raise BadQuery("This link is incomplete.", "Copy the whole link, or search with the photo itself.")
    vector = np.frombuffer(data, np.int8).astype(np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1.0)
