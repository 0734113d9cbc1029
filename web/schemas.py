"""The requests and responses of the JSON API; validation and the OpenAPI document both follow from these models."""

import json
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    RootModel,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from werkzeug.datastructures import FileStorage

from indexer.corrections import PhotoChange
from indexer.export.selection import TextFormat
from indexer.jobs import Job
from indexer.model_registry import MAX_LOSS, Model
from indexer.removal import REMOVABLE
from indexer.review.queues import QueueName
from indexer.scheduled_sync import LastSync
from retrieval import formats
from retrieval.browse import Browsing
from retrieval.bundle_format import Part
from retrieval.columns.kinds import KINDS
from retrieval.images import Crop
from retrieval.index import Filter
from retrieval.label_prediction import PredictedLabel
from retrieval.labels import composed
from retrieval.listing import LabelFrom
from retrieval.photo_ref import Extra, display
from retrieval.search import MOST_RESULTS, SearchParameters
from retrieval.search_response import Distance, More, Score, ScoreBands, Scores
from web.columns import condition_of, group_by, order


def _new_label(label: str) -> str:
    """A label as it is stored; raises `ValueError` if it is blank."""
    name = composed(label)
    if not name:
        raise ValueError("must not be blank")
    return name


def _search_name(name: str) -> str:
    """The name of a saved search as it is stored; raises `ValueError` if it can't be one."""
    name = composed(name)
    if not name.strip(".") or not name.isprintable() or "/" in name:
        raise ValueError("must be a printable text without slashes")
    return name


def _parsed(text: object) -> object:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("is not JSON") from None


API = "/api/v1"
MAX_EXAMPLES = 100
MAX_BATCH = 100  # searches or photos in one request
MAX_TERMS = 20
MAX_OFFSET = 10_000
MAX_SELECTION = 100_000
MAX_VECTOR_LENGTH = 65_536
MAX_ADDRESS = 8190

Label = Annotated[str, Field(min_length=1, max_length=500)]
Text = Annotated[str, Field(min_length=1, max_length=1000, description="a sentence or a few words")]
SearchName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_search_name)]
Name = Annotated[str, Field(pattern=r"^[\w.:-]{1,200}$")]
NewLabel = Annotated[Label, AfterValidator(_new_label)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Look = Annotated[
    Fraction | SkipJsonSchema[None],
    Field(description="weight of the part look, from 0, same kind, to 1, same look; by default, that of the model"),
]
GroupBy = Annotated[
    Annotated[str, Field(max_length=1000)] | SkipJsonSchema[None],
    Field(description="only the nearest photo for each value of this column: text, number or flag"),
]
WHERE = 'only photos with these values of columns, for example {"price": {"gte": 10}}; docs/api.md describes filters'
WhereText = Annotated[
    Annotated[str, Field(max_length=100_000)] | SkipJsonSchema[None], Field(description=f"{WHERE}; JSON as text")
]
Where = Annotated[dict[str, Any] | SkipJsonSchema[None], Field(description=WHERE)]
Uri = Annotated[str | None, Field(description="null for requests that may not see where photos are on the server")]
ShownPath = Annotated[str, Field(description="below the library or, outside of it, below the source that was indexed")]
Width = Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
Height = Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
ColumnName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(display)]
ColumnText = Annotated[str, Field(max_length=10_000), AfterValidator(display)]
ColumnNumber = Annotated[float, Field(ge=-(2**53), le=2**53, allow_inf_nan=False)]
ColumnInteger = Annotated[int, Field(ge=-(2**53), le=2**53)]
OneColumnValue = bool | ColumnInteger | ColumnNumber | ColumnText
ColumnValue = OneColumnValue | Annotated[list[OneColumnValue], Field(max_length=1000)]
ColumnValues = Annotated[dict[ColumnName, ColumnValue | None], Field(max_length=200)]
ColumnsText = Annotated[
    ColumnValues | list[ColumnValues],
    BeforeValidator(_parsed),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]
Sort = Literal["", "name", "-name", "label", "-label", "bytes", "-bytes", "modified", "-modified", "taken", "-taken"]
Ids = Annotated[list[uuid.UUID], Field(max_length=MAX_EXAMPLES)]


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="name of the field; empty for the request as a whole")
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="address of the type of problem, which /api/docs explains")
    title: str = Field(description="name of the status")
    status: int
    detail: str = Field(description="what is wrong")
    remedy: str = Field("", description="what to do about it")
    errors: list[FieldError] = Field([], description="the wrong fields, if any")
    request_id: str = Field("", description="identifies the request in the server's log")


class RequestModel(BaseModel):
    """A part of a request; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


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


class TookMs(BaseModel):
    """Duration of each step in milliseconds; 0 if a step was not needed."""

    decode: float = 0
    embed: float = 0
    search: float = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A photo that resembles the query."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    width: Width
    height: Height
    score: Score
    distance: Distance
    scores: Scores
    duplicate_of: Annotated[
        uuid.UUID | None,
        Field(description="id of an earlier result of this page, of which this photo is a near-identical copy"),
    ]
    extra: Annotated[Extra, Field(description="further columns of its manifest")]
    more: More
    image_url: str
    thumbnail_url: str


class SearchResults(BaseModel):
    """The results of a search, most similar first."""

    model: str = Field(description="id of the model")
    took_ms: TookMs
    predicted_label: PredictedLabel | None = Field(
        description="by the nearest photos if one is a close match at the model's weights and has a label; otherwise "
        "by the names of labels if they are calibrated; null if neither predicts one, and for words with other terms"
    )
    close_match: bool | None = Field(
        description="whether the first result is more likely of the query's class than not, by the calibration of the "
        "model, made in training or on a sample of the index; null if there is none, if nothing was found, and with "
        "`label`, `offset`, several examples or several terms"
    )
    in_collection: uuid.UUID | None = Field(
        description="id of an indexed photo that is the query's file, or a near-identical copy of it; always null for "
        "a query by `id` or examples"
    )
    bands: ScoreBands | None = Field(
        description="the scores that divide the results by what they probably show, which are lower for words; null if "
        "scores are not calibrated, and for words with other terms"
    )
    look: float | None = Field(description="weight of the part look in the scores; null if the model has one part")
    index_empty: bool = Field(False, description="whether nothing was found because the index holds no photos")
    results: list[Found]


class FailedQuery(BaseModel):
    """A query of a batch that can't be answered."""

    error: Problem


class Answers(BaseModel):
    """The answers to the queries of a batch, in their order."""

    answers: list[SearchResults | FailedQuery]


class ResultsOrAnswers(RootModel[SearchResults | Answers]):
    """The results of one search, or the answers to several."""


class UploadedPhotos(RequestModel):
    """Photos to embed."""

    image: list[bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description=f"a {formats.LISTED} file; repeat the field for several"
    )


class EncodedPhotos(RequestModel):
    """Photos to embed, in a JSON document."""

    image_base64: list[Base64Bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description="the files of the photos, base64-encoded"
    )


class Embeddings(BaseModel):
    """The embeddings of photos."""

    model: str = Field(description="id of the model")
    parts: list[Part] = Field(description="of an embedding, in this order; a score is the sum of theirs")
    embeddings: list[list[float]] = Field(description="unit vectors in the order of the photos")


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


class PhotoToStore(RequestModel):
    """Store a photo."""

    image: bytes = Field(description=f"a {formats.LISTED} file")
    label: NewLabel | SkipJsonSchema[None] = Field(None, description="its label; by default it has none")


class SearchToSave(RequestModel):
    """Save a search of the page."""

    address: str = Field(
        max_length=MAX_ADDRESS, description="of the page with its results, or of a list of photos: path and query"
    )


class NewSearchName(RequestModel):
    """Rename a saved search."""

    name: SearchName


class Search(BaseModel):
    """A saved search."""

    name: str
    address: str = Field(description="of the page, as it was saved")
    page_url: str = Field(
        description="redirects to the address; a kept photo is embedded again if the current model is another one"
    )
    saved_at: str = Field(description="ISO 8601 in UTC")
    photo_kept: bool = Field(description="whether it is by an uploaded photo that is kept with it")


class SavedSearchList(BaseModel):
    """The saved searches of a key, by name."""

    searches: list[Search]


class StoredPhoto(BaseModel):
    """A photo that is stored on the server, and not indexed by that."""

    folder: str = Field(
        description="on the server, a source for a job: of stored photos with labels, or of those without"
    )
    sha256: str = Field(description="of its file, in hexadecimal")


class NewPhoto(RequestModel):
    """Photos to add."""

    image: list[bytes] = Field(
        min_length=1, max_length=MAX_BATCH, description=f"a {formats.LISTED} file; repeat the field for several"
    )
    label: NewLabel | SkipJsonSchema[None] = Field(None, description="the label of all; by default they have none")
    columns: ColumnsText = Field(
        {}, description="values of columns: a JSON object for all photos, or an array with one object for each"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.columns, list) and len(self.columns) != len(self.image):
            raise ValueError(f"columns has {len(self.columns)} objects for {len(self.image)} photos")
        return self

    def columns_of_each(self) -> list[ColumnValues]:
        """The columns of each photo."""
        return self.columns if isinstance(self.columns, list) else [self.columns] * len(self.image)


class PhotoChanges(RequestModel):
    """What to change in a photo; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    label: NewLabel | None = Field(None, description="its label; null: unlabelled")
    columns: ColumnValues = Field(
        {}, description="values of columns, by name; null removes a value, and other columns stay"
    )
    confirmed: bool | SkipJsonSchema[None] = Field(
        None, description="whether a person has confirmed the label; by default true if `label` is given"
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give label, columns or confirmed")
        return self

    def change(self) -> PhotoChange:
        """Convert them for the index."""
        return PhotoChange(self.label if "label" in self.model_fields_set else ..., self.columns, self.confirmed)


class RemovalOptions(RequestModel):
    """How to remove a photo."""

    forget: bool = Field(False, description="do not remember the removal, so that the next job adds the photo again")


class Photo(BaseModel):
    """An indexed photo."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    sha256: str = Field(description="of the file")
    width: Width
    height: Height
    bytes: int = Field(description="size of the file")
    modified_at: str = Field(description="modification time of the file, ISO 8601 in UTC")
    indexed_at: str = Field(description="ISO 8601 in UTC")
    extra: Extra = Field({}, description="further columns of its manifest")
    confirmed: bool = Field(False, description="whether a person has confirmed the label")
    version: str = Field(description="changes with its content, label, columns and confirmation; also in `ETag`")
    image_url: str
    thumbnail_url: str


class AddedPhoto(Photo):
    """A photo that was added."""

    replaced_label: str | None = Field(
        None, description="the label that it had, if the same content was added before with another label"
    )


class FailedUpload(BaseModel):
    """A photo of several that can't be added."""

    error: Problem


class AddedPhotos(BaseModel):
    """Photos that were added in one request, in their order."""

    photos: list[AddedPhoto | FailedUpload]


class AddedPhotoOrPhotos(RootModel[AddedPhoto | AddedPhotos]):
    """The photo that was added, or several."""


class RemovedPhoto(BaseModel):
    """A photo that a person removed from the index, and that can be restored."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    removed_at: str | None = Field(description="ISO 8601 in UTC")


class RemovedPhotos(BaseModel):
    """Photos that persons removed, the last one first."""

    photos: list[RemovedPhoto]
    total: int


class LabelCount(BaseModel):
    """A label and the number of photos that carry it."""

    label: str
    count: int


class PageOptions(RequestModel):
    """A page of a list."""

    limit: int = Field(100, ge=1, le=1000, description="maximum number of items")
    offset: int = Field(0, ge=0, le=1_000_000_000, description="number of items to skip")


class BrowsingOptions(RequestModel):
    """Which photos to list, and in which order."""

    limit: int = Field(100, ge=1, le=1000, description="maximum number of photos")
    offset: int = Field(0, ge=0, le=MAX_OFFSET, description="number of photos to skip")
    after: str = Field(
        "",
        max_length=8000,
        description="`next` of the page before, for any number of pages without `offset`; with an empty `sort`, the id "
        "of a photo",
    )
    sort: Sort = Field("", description="empty: by id; a minus sign is for descending order")
    q: str = Field("", max_length=500, description="only photos with a file name or label that contains this text")
    label: tuple[Label, ...] = Field((), max_length=100, description="only photos with one of these labels")
    where: WhereText = None

    def browsing(self) -> Browsing:
        """Convert them; raises `BadQuery` if the filter is wrong, or the options can't be combined."""
        filter = Filter(self.label, condition_of(self.where))
        return Browsing(filter, self.q, order(self.sort), self.offset, self.limit, self.after)


class ImageList(BaseModel):
    """Indexed photos, and the number of all that match."""

    images: list[Photo]
    total: int
    next: str | None = Field(description="the value of `after` for the next page; null: this is the last page")


class Selection(RequestModel):
    """Photos that a person has selected."""

    ids: list[uuid.UUID] = Field(min_length=1, max_length=MAX_SELECTION)


class ExportedSelection(Selection):
    """Photos that a person has selected, and the format of their table."""

    format: TextFormat = "csv"


class LabelOptions(PageOptions):
    """A page of the labels, or of those that match."""

    q: str = Field("", max_length=500, description="only labels with a word that starts with this text")


class Labels(BaseModel):
    """Labels, most frequent first."""

    labels: list[LabelCount]
    total: int = Field(description="number of labels; with `q`, of those that match")


class IndexJob(RequestModel):
    """Index photos that are on the server."""

    kind: Literal["index"] = "index"
    sources: list[Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]] = Field(
        min_length=1, max_length=100, description="folders and manifests within LOOKALIKE_LIBRARY_ROOTS"
    )
    label_from: LabelFrom | None = Field(None, description="source of the labels; null: by the type of source")
    sync: bool = Field(False, description="also remove photos of these sources that no longer exist")
    include_hidden: bool = Field(False, description="also index files and folders with names that start with a dot")
    exclude: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        [], max_length=100, description="gitignore patterns of files and folders to skip"
    )
    relabel: bool = Field(False, description="replace labels in the index by the names of folders")
    allow_removing: str | None = Field(
        None,
        pattern=f"^({REMOVABLE})$",
        description="how many photos of each source `sync` may remove, even if that seems too many: N or N%",
    )
    columns: list[Annotated[str, Field(pattern=f"^.+:({'|'.join(KINDS)})$", max_length=1000)]] = Field(
        [], max_length=200, description="the kinds of columns of manifests, each as NAME:KIND; by default inferred"
    )
    model: str | None = Field(None, description="the id of an installed model; null: the current one")
    pretrained: bool = Field(
        False,
        description="if there is no model yet, make one of the installed network, which needs TensorFlow and a key of "
        "the scope admin",
    )


class MapJob(RequestModel):
    """Compute the map of all photos for `GET /map`."""

    kind: Literal["map"]


class ReviewJob(RequestModel):
    """Compute the queues of photos to review for `GET /queues`."""

    kind: Literal["review"]


class TrainJob(RequestModel):
    """Train a model on the photos of the index with their labels, index them with it, and compare it with the current.

    It needs TensorFlow and a key of the scope admin. The model is not activated.
    """

    kind: Literal["train"]
    recipe: Name = Field("default", description="as `lookalike recipes` lists them")
    backbone: Name | None = Field(None, description="as `lookalike backbones` lists them; null: the default one")
    seed: int = Field(0, ge=0, le=2**31)
    epochs: int | None = Field(None, ge=1, le=10_000, description="the maximum number; null: that of the recipe")
    changes: list[Annotated[str, Field(pattern=r"^[\w.]+=[^\x00]+$", max_length=1000)]] = Field(
        [], max_length=100, description="changed settings of the recipe, each as SETTING=VALUE"
    )


class NewJob(
    RootModel[
        Annotated[
            Annotated[IndexJob, Tag("index")]
            | Annotated[MapJob, Tag("map")]
            | Annotated[ReviewJob, Tag("review")]
            | Annotated[TrainJob, Tag("train")],
            Discriminator(
                lambda fields: fields.get("kind", "index") if isinstance(fields, dict) else None,
                custom_error_type="kind",
                custom_error_message="A job is an object with the `kind` index, map, review or train",
            ),
        ]
    ]
):
    """A job to start."""


class Jobs(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]
    total: int
    last_sync: LastSync | None = Field(None, description="result of the last scheduled sync; null if there was none")


class FailedPhoto(BaseModel):
    """A photo, folder or line of a manifest that could not be read, listed or indexed, and why."""

    uri: Uri
    path: ShownPath
    reason: str


class Failures(BaseModel):
    """Failures of a job, oldest first."""

    failures: list[FailedPhoto]
    total: int


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


class ActivationOptions(RequestModel):
    """How much worse a model may be that is made the current one."""

    max_loss: float = Field(
        MAX_LOSS, ge=0, le=1, description="maximum decrease of MAP@R on the labelled photos; 1: without a comparison"
    )


def _stored_file(value: object) -> FileStorage:
    if isinstance(value, FileStorage):
        return value
    raise ValueError("must be a file with a name")


StoredFile = Annotated[
    FileStorage, PlainValidator(_stored_file), WithJsonSchema({"type": "string", "format": "binary"})
]


class NewModel(RequestModel):
    """A model to install."""

    bundle: StoredFile = Field(description="a ZIP archive of the folder of a bundle")


class Models(BaseModel):
    """The installed models, sorted by id."""

    models: list[Model]
    serves: str | None = Field(
        description="the model with which this server searches: the current one, unless LOOKALIKE_BUNDLE names "
        "another; null if there is none yet"
    )


class Health(BaseModel):
    """The process is alive."""

    status: str = "ok"


class Recalls(BaseModel):
    """The shares of exact neighbours that the index found with one weight of look."""

    recall_at_k: float
    recall_at_100: float


class CrossCheck(BaseModel):
    """The result of the last comparison of the index with exact nearest neighbours."""

    checked_at: str
    passed: bool
    queries: int
    recall_at_k: float
    recall_at_100: float | None = Field(description="recall of searches for 100 photos; null: not measured")
    by_look: dict[str, Recalls] | None = Field(
        description="weight of look in the query, 0 or 1 → recall; null for embeddings of one part"
    )
    max_score_error: float
    disagreements: list[object] = Field(description="queries with a difference that is not a tie")


class Readiness(BaseModel):
    """Whether the server can answer searches, and with which model and index."""

    ready: bool
    model: str | None = Field(description="null if there is none yet")
    dimension: int | None
    photos: int = Field(description="number of indexed photos; 0 if the index does not respond")
    crosscheck: CrossCheck | None = Field(description="the last cross-check of this index; null: none yet")
    problems: list[str] = Field(description="why it is not ready, in sentences")
