"""What the JSON API takes and gives; validation and the OpenAPI document both follow from these models."""

import uuid
from typing import Annotated, Literal

from pydantic import (
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema

from indexer.jobs import Job
from retrieval.bundle import Precision
from retrieval.images import Crop
from retrieval.index import Filter
from retrieval.listing import LabelFrom
from retrieval.search import MOST_RESULTS, SearchParameters

API = "/api/v1"
MOST_EXAMPLES = 100
DEEPEST_OFFSET = 10_000
LONGEST_VECTOR = 65_536

Label = Annotated[str, Field(min_length=1, max_length=500)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Ids = Annotated[list[uuid.UUID], Field(max_length=MOST_EXAMPLES)]


class Given(BaseModel):
    """What a client sends: fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


class CropBox(Given):
    """A part of a photo, as fractions of its width and height."""

    model_config = ConfigDict(frozen=True)  # pydantic copies no default that can't change

    x: Fraction = Field(0, description="left edge")
    y: Fraction = Field(0, description="upper edge")
    width: Fraction = 1
    height: Fraction = 1

    def crop(self) -> Crop | None:
        """The same for the searcher, None for the whole photo; raises `BadQuery` where it reaches beyond the photo."""
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


class SearchOptions(Given):
    """How to search."""

    k: int = Field(10, ge=1, le=MOST_RESULTS, description="how many photos")
    offset: int = Field(0, ge=0, le=DEEPEST_OFFSET, description="how many of the nearest to pass over")
    label: tuple[Label, ...] = Field((), max_length=100, description="only photos with one of these labels")
    min_score: float = Field(-1, ge=-1, le=1, description="only photos with at least this cosine similarity")
    exact: bool = Field(False, description="compare with every photo instead of using the graph")

    def options(self) -> SearchParameters:
        """The same for the searcher."""
        return SearchParameters(self.k, self.offset, Filter(self.label), self.min_score, self.exact)


class UploadedPhoto(SearchOptions):
    """Search by an uploaded photo."""

    image: bytes = Field(description="a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file")
    crop: CropText = CropBox()


class EncodedPhoto(SearchOptions):
    """Search by a photo within the JSON document."""

    image_base64: Base64Bytes = Field(description="the photo's file, in base64")
    crop: CropBox = Field(CropBox(), description="search this part of the photo")


class IndexedPhoto(SearchOptions):
    """Search from an indexed photo, which is left out of the results."""

    id: uuid.UUID
    crop: CropBox = Field(CropBox(), description="search this part of the photo")


class QueryVector(SearchOptions):
    """Search by an embedding of the model that serves."""

    vector: list[Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(max_length=LONGEST_VECTOR)


class Examples(SearchOptions):
    """Search for photos like some indexed photos and unlike others, which are left out of the results."""

    positive: Ids = Field(min_length=1, description="ids of photos to come close to")
    negative: Ids = Field([], description="ids of photos to keep away from")


QUERIES = {"image_base64": EncodedPhoto, "id": IndexedPhoto, "vector": QueryVector, "positive": Examples}


def _kind_of_query(fields: object) -> str | None:
    given = [name for name in QUERIES if isinstance(fields, dict) and name in fields]
    return given[0] if len(given) == 1 else None


class Query(
    RootModel[
        Annotated[
            Annotated[EncodedPhoto, Tag("image_base64")]
            | Annotated[IndexedPhoto, Tag("id")]
            | Annotated[QueryVector, Tag("vector")]
            | Annotated[Examples, Tag("positive")],
            Discriminator(
                _kind_of_query,
                custom_error_type="query",
                custom_error_message=f"Give exactly one of {', '.join(QUERIES)}",
            ),
        ]
    ]
):
    """Search by exactly one of a photo, an indexed photo's id, a vector, and examples."""


class TookMs(BaseModel):
    """Milliseconds that each step took; 0 for a step that was not needed."""

    decode: float = 0
    embed: float = 0
    search: float = 0


class PredictedLabel(BaseModel):
    """The label that most of the nearest photos carry."""

    label: str
    confidence: float = Field(description="its share of their similarity, 0 to 1")


class Found(BaseModel):
    """A photo that looks like the query."""

    id: uuid.UUID
    uri: str
    label: str | None
    width: int = Field(description="in pixels, upright")
    height: int = Field(description="in pixels, upright")
    score: float = Field(description="cosine similarity to the query, −1 to 1")
    distance: float = Field(description="Euclidean distance between the unit vectors, √(2 − 2·score)")
    image_url: str
    thumbnail_url: str


class SearchAnswer(BaseModel):
    """What a search found, the nearest photo first."""

    model: str = Field(description="the model that compared the photos")
    took_ms: TookMs
    predicted_label: PredictedLabel | None = Field(description="null where no photo near the query has a label")
    close_match: bool | None = Field(
        description="whether the first result more likely shows the query's own kind than another, by what training "
        "measured for the nearest of all photos to one photo; null where it measured nothing, where nothing was found, "
        "and with `label`, `offset` or several examples"
    )
    results: list[Found]


class UploadedMatch(Given):
    """An uploaded photo, and an indexed one that it found."""

    image: bytes = Field(description="the query: a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file")
    crop: CropText = CropBox()
    result: uuid.UUID = Field(description="id of the photo that was found")


class IndexedMatch(Given):
    """Two indexed photos, of which one found the other."""

    id: uuid.UUID = Field(description="the query")
    crop: CropBox = Field(CropBox(), description="the part of the query that was searched")
    result: uuid.UUID = Field(description="id of the photo that was found")


class HeatMap(BaseModel):
    """What each region of a photo adds to its likeness with another one."""

    seen: CropBox = Field(description="the part of the photo that the network saw, which the grid covers")
    contributions: list[list[float]] = Field(
        description="rows from the top, each from the left; they add up to the score, and are negative where a region "
        "makes the photos less alike"
    )


class Explanation(BaseModel):
    """Why two photos are alike: their score, taken apart over the regions of either."""

    model: str = Field(description="the model that compared the photos")
    score: float = Field(description="their cosine similarity, −1 to 1")
    query: HeatMap
    result: HeatMap


class NewPhoto(Given):
    """A photo to add."""

    image: bytes = Field(description="a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file")
    label: Label | SkipJsonSchema[None] = Field(None, description="what it shows")


class Photo(BaseModel):
    """An indexed photo."""

    id: uuid.UUID
    uri: str
    label: str | None
    sha256: str = Field(description="of its file")
    width: int = Field(description="in pixels, upright")
    height: int = Field(description="in pixels, upright")
    bytes: int = Field(description="size of its file")
    modified_at: str = Field(description="of its file, ISO 8601 in UTC")
    indexed_at: str = Field(description="ISO 8601 in UTC")
    extra: dict[str, str | int | float | bool] = Field({}, description="what its manifest says of it beside the label")
    image_url: str
    thumbnail_url: str


class LabelCount(BaseModel):
    """A label, and how many photos carry it."""

    label: str
    count: int


class PageOptions(Given):
    """Which part of a list to give."""

    limit: int = Field(100, ge=1, le=1000, description="how many")
    offset: int = Field(0, ge=0, le=1_000_000_000, description="how many to pass over")


class LabelOptions(PageOptions):
    """Which labels to list."""

    q: str = Field("", max_length=500, description="only labels with a word that begins like this")


class Labels(BaseModel):
    """The labels, the most frequent first."""

    labels: list[LabelCount]
    total: int = Field(description="how many labels there are; with `q`, how many match")


class IndexJob(Given):
    """Index photos that lie on the server."""

    kind: Literal["index"] = "index"
    sources: list[Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]] = Field(
        min_length=1, max_length=100, description="folders and manifests within LOOKALIKE_LIBRARY_ROOTS"
    )
    label_from: LabelFrom | None = Field(None, description="where labels come from; null: by the kind of source")
    sync: bool = Field(False, description="also remove photos of these sources that are gone from disk")
    model: str | None = Field(None, description="the id of an installed model; null: the current one")


class MapJob(Given):
    """Lay all photos out by likeness, for `GET /map`."""

    kind: Literal["map"]


class NewJob(
    RootModel[
        Annotated[
            Annotated[IndexJob, Tag("index")] | Annotated[MapJob, Tag("map")],
            Discriminator(
                lambda fields: fields.get("kind", "index") if isinstance(fields, dict) else None,
                custom_error_type="kind",
                custom_error_message="A job is an object of the kind index or map",
            ),
        ]
    ]
):
    """A job to start."""


class Jobs(BaseModel):
    """Jobs, the newest first."""

    jobs: list[Job]
    total: int


class FailedPhoto(BaseModel):
    """A photo that could not be indexed, or a folder that could not be listed, and why."""

    uri: str
    reason: str


class Failures(BaseModel):
    """What failed in a job, in the order in which it failed."""

    failures: list[FailedPhoto]
    total: int


class Map(BaseModel):
    """All photos of a model's index, or a sample, laid out by likeness."""

    model: str
    computed_at: str = Field(description="ISO 8601 in UTC")
    total: int = Field(description="how many photos the index held")
    labels: list[str]
    points: "MapPoints"


class MapPoints(BaseModel):
    """The points of a map, as columns of the same length."""

    id: list[uuid.UUID]
    x: list[float] = Field(description="0 to 1")
    y: list[float] = Field(description="0 to 1")
    label: list[int | None] = Field(description="positions in `labels`; null: none")


class ModelDescription(BaseModel):
    """A model that can serve; what is said of its training is null where its bundle is not there."""

    id: str
    backbone: str | None
    recipe: str | None
    dimension: int | None = Field(description="the length of its embeddings")
    precision: Precision | None = Field(description="what most of its network computes in")
    metrics: dict[str, object] = Field(description="what its training measured")
    points: int | None = Field(description="how many photos its index holds; null where it has none or is in use")
    current: bool = Field(description="whether it serves")
    previous: bool = Field(description="whether it served before the current one")
    problem: str | None = Field(description="what is wrong with its bundle or index")


class Models(BaseModel):
    """The models of this place, in the order of their names."""

    models: list[ModelDescription]


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class CrossCheck(BaseModel):
    """How the last comparison of the index with exact nearest neighbours went."""

    checked_at: str
    passed: bool
    queries: int
    recall_at_k: float
    max_score_error: float
    disagreements: list[object] = Field(description="every difference that is not a tie")


class Readiness(BaseModel):
    """Whether searches can be answered, and what stands behind them."""

    ready: bool
    model: str
    dimension: int
    photos: int = Field(description="how many are indexed; 0 where the index does not answer")
    crosscheck: CrossCheck | None = Field(description="the last cross-check of this model's index; null: none yet")
    problems: list[str] = Field(description="what keeps it from being ready, in sentences")
