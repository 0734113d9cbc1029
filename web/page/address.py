"""The URL of a search."""

import base64
import uuid
from typing import Annotated, Any, Literal

import numpy as np
from flask import url_for
from pydantic import BaseModel, Field, model_validator

from retrieval.errors import BadQuery
from retrieval.index import Filter
from retrieval.index.vectors import Vector, check_query, to_unit_length
from retrieval.search import QueryKind, SearchParameters
from retrieval.search_response import ScoreBands
from web.columns import group_by
from web.page.column_filters import chosen
from web.page.terms import TermFields, address_of_weights, kind_of
from web.schemas.fields import MAX_OFFSET, Label
from web.schemas.queries import CropBox, CropText

PAGE_SIZE = 24
# Each takes about 45 characters of a URL, which is limited to 8,190.
MAX_EXAMPLES = 50
MAX_FLOAT16 = 2048  # numbers of an embedding that a URL holds as float16, in 5,462 characters
FLOAT16 = "."  # before an embedding as float16; base64 does not use this character

DIVERSITY = 0.5  # of diverse results
LONGEST_VALUE = 500  # characters of a filter in a URL
LIMITS = ("from.", "to.")  # before the name of a column, in a URL
ShortText = Annotated[str, Field(max_length=LONGEST_VALUE)]
Examples = Annotated[list[uuid.UUID], Field(max_length=MAX_EXAMPLES)]


class Limits(BaseModel):
    """The filters by columns in a URL; see `web.page.column_filters`."""

    only: Annotated[list[ShortText], Field(max_length=100)] = []
    limits: Annotated[dict[str, ShortText], Field(max_length=100)] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect_limits(cls, values: dict[str, Any]) -> dict[str, Any]:
        limits = {name: value for name, value in values.items() if name.startswith(LIMITS) and value}
        return {**values, "limits": limits}


class PageQuery(Limits, TermFields):
    """A search by an indexed photo (`id`) or by the embedding of an uploaded one, refined by examples.

    `crop` is the part of the photo to search by; `vector` is already the embedding of that part. While the server keeps
    the uploaded photo, `kept` is its token, and its exact embedding is used instead of `vector`. `find` filters the
    labels that are offered, not the results. `text` are words, searched for alone or beside the photo
    (`web.page.terms`). `look` is the weight of the part look, by default that of the model. `band` is the last band of
    scores that is shown, and `min_score` the lowest score. `group_by` is the column by which results are grouped, and
    `diverse` whether they should differ from each other. For `only` and `limits` see `web.page.column_filters`.
    """

    id: uuid.UUID | None = None
    vector: str = Field("", max_length=8000)
    model: str = ""
    kept: str = Field("", max_length=64)
    crop: CropText = CropBox()
    like: Examples = []
    unlike: Examples = []
    label: Annotated[list[Label], Field(max_length=100)] = []
    min_score: float = Field(0, ge=0, le=1)
    band: Literal["", "same", "possible"] = ""
    look: float | None = Field(None, ge=0, le=1)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    find: str = Field("", max_length=500)
    group_by: str = Field("", max_length=1000)
    diverse: bool = False

    @property
    def is_search(self) -> bool:
        """Whether there is something to search by."""
        return bool(self.id or self.vector or self.like or self.text)

    @property
    def kind(self) -> QueryKind:
        """What its scores mean."""
        return kind_of(self, bool(self.id or self.vector or self.like or self.unlike))

    def parameters(self, bands: ScoreBands | None) -> SearchParameters:
        """Convert it for the searcher; `bands` are those at its weight of look."""
        labels = tuple(dict.fromkeys(self.label))
        lowest = {"same": bands.same_kind, "possible": bands.possible}.get(self.band) if bands else None
        min_score = max(self.min_score, lowest or 0) or None
        filter = Filter(labels, chosen(self.only, self.limits).condition)
        return SearchParameters(
            PAGE_SIZE,
            self.offset,
            filter,
            min_score,
            look=self.look,
            group_by=group_by(self.group_by or None),
            diversity=DIVERSITY if self.diverse else 0,
        )

    def address(self, page: str = "page.show", **changes: object) -> str:
        """Return the shortest URL of this search on a page, with the given changes."""
        query = self.model_copy(update=changes)
        whole = query.crop.crop() is None
        fields: dict[str, Any] = {
            "text": query.text,
            "id": query.id,
            "vector": query.vector,
            "model": query.vector and query.model,
            "kept": query.vector and query.kept,
            "crop": "" if whole else crop_text(query.crop),
            "like": query.like,
            "unlike": query.unlike,
            **address_of_weights(query, query.like, query.unlike),
            "label": query.label,
            "only": query.only,
            **query.limits,
            "min_score": query.min_score and f"{query.min_score:g}",
            "band": query.band,
            "look": None if query.look is None else f"{query.look:g}",
            "group_by": query.group_by,
            "diverse": query.diverse and "1",
            "offset": query.offset,
        }
        return url_for(page, **{name: value for name, value in fields.items() if value})


def crop_text(crop: CropBox) -> str:
    """Format a part of a photo for a URL: `0.1,0.2,0.5,0.5`."""
    return ",".join(f"{part:.4g}" for part in (crop.x, crop.y, crop.width, crop.height))


def encode_vector(vector: Vector) -> str:
    """Encode an embedding for a URL: as float16, or with one byte per number if that would be too long."""
    if len(vector) > MAX_FLOAT16:
        return encode_int8(vector)
    scaled = (vector / np.abs(vector).max()).astype("<f2")
    return FLOAT16 + _encode(scaled.tobytes())


def encode_int8(vector: Vector) -> str:
    """Encode an embedding for a URL with one signed byte per number.

    Its cosine to the original is at least 1 / √(1 + (d − 1) / 254²), 0.996 for d = 512.
    """
    return _encode(np.rint(vector * (127 / np.abs(vector).max())).astype(np.int8).tobytes())


def decode_vector(text: str, dimension: int) -> Vector:
    """Decode an embedding of either encoding, float32 [dimension], of unit length.

    Raises `BadQuery` if the URL is truncated or holds no direction.
    """
    kind = np.dtype("<f2") if text.startswith(FLOAT16) else np.dtype(np.int8)
    text = text.removeprefix(FLOAT16)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        data = b""
    if len(data) != dimension * kind.itemsize:
        raise BadQuery("This link is incomplete.", "Copy the whole link, or search with the photo itself.")
    return to_unit_length(check_query(np.frombuffer(data, kind).astype(np.float32), dimension))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
