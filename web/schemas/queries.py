"""The requests of a search."""

import uuid
from typing import Annotated, Any

from pydantic import Base64Bytes, BeforeValidator, ConfigDict, Discriminator, Field, RootModel, Tag, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from retrieval import formats
from retrieval.images import Crop
from retrieval.index import Filter
from retrieval.search import MOST_RESULTS, SearchParameters
from web.columns import condition_of, group_by
from web.schemas.fields import MAX_BATCH, MAX_OFFSET, WHERE, Fraction, Label, Look, RequestModel, WhereText

MAX_EXAMPLES = 100
MAX_TERMS = 20
MAX_VECTOR_LENGTH = 65_536
Text = Annotated[str, Field(min_length=1, max_length=1000, description="a sentence or a few words")]
GroupBy = Annotated[
    Annotated[str, Field(max_length=1000)] | SkipJsonSchema[None],
    Field(description="only the nearest photo for each value of this column: text, number or flag"),
]
Where = Annotated[dict[str, Any] | SkipJsonSchema[None], Field(description=WHERE)]
Ids = Annotated[list[uuid.UUID], Field(max_length=MAX_EXAMPLES)]


class CropBox(RequestModel):
    """A part of a photo, as fractions of its width and height."""

    model_config = ConfigDict(frozen=True)  # so pydantic does not copy the default value

    x: Fraction = Field(0, description="left edge")
    y: Fraction = Field(0, description="upper edge")
    width: Fraction = 1
    height: Fraction = 1

    def crop(self) -> Crop | None:
        """Convert it for the searcher, to None for the whole photo; raises `BadQuery` if it exceeds the photo."""
        whole = (self.x, self.y, self.width, self.height) == (0, 0, 1, 1)
        return None if whole else Crop(self.x, self.y, self.width, self.height)


def _split_crop(text: object) -> object:
    if not isinstance(text, str):
        return text
    numbers = text.split(",")
    if len(numbers) != 4:
        raise ValueError("Give four fractions: x,y,width,height.")
    return dict(zip(("x", "y", "width", "height"), numbers, strict=True))


CropText = Annotated[
    CropBox,
    BeforeValidator(_split_crop),
    WithJsonSchema({"type": "string", "pattern": "^[01](\\.[0-9]+)?(,[01](\\.[0-9]+)?){3}$"}),
    Field(CropBox(), description="search this part of the photo: x,y,width,height as fractions"),
]


class SearchOptions(RequestModel):
    """The options of a search."""

    k: int = Field(10, ge=1, le=MOST_RESULTS, description="number of results")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="number of nearest photos to skip")
    label: tuple[Label, ...] = Field((), max_length=100, description="only photos with one of these labels")
    min_score: float = Field(-1, ge=-1, le=1, description="only photos with at least this cosine similarity")
    exact: bool = Field(False, description="compare with every photo instead of searching the graph")
    look: Look = None
    where: WhereText = None
    group_by: GroupBy = None
    diversity: Fraction = Field(
        0, description="weight of the difference from the results before, 0 (the nearest first) to 1"
    )

    def parameters(self) -> SearchParameters:
        """Convert them for the searcher; raises `BadQuery` if the filter is wrong."""
        filter = Filter(self.label, condition_of(self.where))
        group = group_by(self.group_by)
        return SearchParameters(
            self.k, self.offset, filter, self.min_score, self.exact, self.look, group, self.diversity
        )


class JsonSearchOptions(SearchOptions):
    """The options of a search in a JSON document."""

    where: Where = None  # type: ignore[assignment]  # an object rather than its text


class UploadedPhoto(SearchOptions):
    """Search by an uploaded photo."""

    image: bytes = Field(description=f"a {formats.LISTED} file")
    crop: CropText = CropBox()


class EncodedPhoto(JsonSearchOptions):
    """Search by a photo that the JSON document contains."""

    image_base64: Base64Bytes = Field(description="the photo's file, base64-encoded")
    crop: CropBox = Field(CropBox(), description="search this part of the photo")


class IndexedPhoto(JsonSearchOptions):
    """Search by an indexed photo, which is excluded from the results."""

    id: uuid.UUID
    crop: CropBox = Field(CropBox(), description="search this part of the photo")


class QueryVector(JsonSearchOptions):
    """Search by an embedding of the current model."""

    vector: list[Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(max_length=MAX_VECTOR_LENGTH)


class Examples(JsonSearchOptions):
    """Search by positive and negative examples, which are indexed photos and excluded from the results."""

    positive: Ids = Field(min_length=1, description="ids of photos that results should resemble")
    negative: Ids = Field([], description="ids of photos that results should not resemble")


class Words(JsonSearchOptions):
    """Search by words, if the model has a text network."""

    text: Text


class WeightedTerm(RequestModel):
    """A part of a mixed query."""

    weight: float = Field(1, ge=-100, le=100, description="negative for photos that should not resemble the term")


class TextTerm(WeightedTerm):
    """Words, if the model has a text network."""

    text: Text


class PhotoTerm(WeightedTerm):
    """An indexed photo, which is excluded from the results."""

    id: uuid.UUID


class UploadedTerm(WeightedTerm):
    """A photo that the JSON document contains."""

    image_base64: Base64Bytes = Field(description="the photo's file, base64-encoded")


QUERIES = ("image_base64", "id", "vector", "positive", "text", "terms")  # the field that tells the kind of a query
BATCH = "queries"


def _only_one_of(*names: str) -> Discriminator:
    """Tell the kinds of an object by the name that it has; an object with none or several of them is refused."""

    def kind(fields: object) -> str | None:
        given = [name for name in names if isinstance(fields, dict) and name in fields]
        return given[0] if len(given) == 1 else None

    message = f"Give exactly one of {', '.join(names)}"
    return Discriminator(kind, custom_error_type="query", custom_error_message=message)


AnyTerm = Annotated[
    Annotated[TextTerm, Tag("text")] | Annotated[PhotoTerm, Tag("id")] | Annotated[UploadedTerm, Tag("image_base64")],
    _only_one_of("text", "id", "image_base64"),
]


class Terms(JsonSearchOptions):
    """Search by a weighted sum of words and photos; `look` is refused if there are words."""

    terms: list[AnyTerm] = Field(min_length=1, max_length=MAX_TERMS)


OneQuery = (
    Annotated[EncodedPhoto, Tag("image_base64")]
    | Annotated[IndexedPhoto, Tag("id")]
    | Annotated[QueryVector, Tag("vector")]
    | Annotated[Examples, Tag("positive")]
    | Annotated[Words, Tag("text")]
    | Annotated[Terms, Tag("terms")]
)


class Query(RootModel[Annotated[OneQuery, _only_one_of(*QUERIES)]]):
    """Search by exactly one of: a photo, the id of an indexed photo, a vector, examples, words, a sum of terms."""


class Queries(RequestModel):
    """Several searches in one request, each with its own options."""

    queries: list[Query] = Field(min_length=1, max_length=MAX_BATCH)


class QueryOrQueries(RootModel[Annotated[OneQuery | Annotated[Queries, Tag(BATCH)], _only_one_of(*QUERIES, BATCH)]]):
    """One search, or several (`queries`)."""
