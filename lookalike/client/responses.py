"""The responses of the API; fields that a newer server adds are ignored.

`web.schemas` describes the fields. A test compares the two.
"""

import uuid
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Response(BaseModel):
    """A response, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PartScores(Response):
    """The cosine similarity of each part of the embedding to that of the query."""

    kind: float
    look: float


class SearchResult(Response):
    """A photo that resembles the query; `score` is the cosine similarity, `distance` the Euclidean distance."""

    id: uuid.UUID
    uri: str | None
    path: str
    label: str | None
    width: int
    height: int
    score: float
    distance: float
    scores: PartScores | None
    duplicate_of: uuid.UUID | None
    extra: dict[str, Any]
    more: int | None
    image_url: str
    thumbnail_url: str


class PredictedLabel(Response):
    """The label that most of the nearest photos have, `votes` `of` them, or the one with the nearest name."""

    label: str
    confidence: float
    votes: int
    of: int
    source: str


class ScoreBands(Response):
    """The scores that divide the results by what they probably show."""

    same_kind: float
    possible: float | None


class TookMs(Response):
    """Duration of each step in milliseconds."""

    decode: float
    embed: float
    search: float


class SearchResults(Response):
    """The results of a search, most similar first."""

    model: str
    took_ms: TookMs
    predicted_label: PredictedLabel | None
    close_match: bool | None
    in_collection: uuid.UUID | None
    bands: ScoreBands | None
    look: float | None
    index_empty: bool
    results: list[SearchResult]


class IndexedPhoto(Response):
    """What the index stores about a photo."""

    id: uuid.UUID
    uri: str | None
    path: str
    label: str | None
    sha256: str
    width: int
    height: int
    bytes: int
    modified_at: str
    indexed_at: str
    extra: dict[str, Any]
    confirmed: bool
    version: str
    image_url: str
    thumbnail_url: str


class ImageList(Response):
    """A page of the indexed photos; `next` is where the next page starts, None if this is the last."""

    images: list[IndexedPhoto]
    total: int
    next: str | None


class AddedPhoto(IndexedPhoto):
    """A photo that was added; `replaced_label` is its former label if its content was added before with another one."""

    replaced_label: str | None


class Page(Response):
    """A page of a list, which has `total` items."""

    total: int


PageT = TypeVar("PageT", bound=Page)


class SavedSearch(Response):
    """A search that was saved under a name; `page_url` shows its results."""

    name: str
    address: str
    page_url: str
    saved_at: str
    photo_kept: bool


class SavedSearchList(Response):
    """The saved searches of a key."""

    searches: list[SavedSearch]


class LabelCount(Response):
    """A label and the number of photos that have it."""

    label: str
    count: int


class Labels(Page):
    """A page of the labels."""

    labels: list[LabelCount]


class Part(Response):
    """A part of an embedding: its number of dimensions, and the weight of its cosine similarity in a score."""

    name: str
    length: int
    weight: float


class Embeddings(Response):
    """The embeddings of photos: unit vectors in the order of the photos."""

    model: str
    parts: list[Part]
    embeddings: list[list[float]]

    def array(self) -> "npt.NDArray[np.float32]":
        """Return the embeddings as an array, float32 [photos, d]."""
        import numpy as np  # noqa: PLC0415 - only if arrays are wanted

        return np.array(self.embeddings, np.float32)


class Job(Response):
    """A job with its counts; all further fields of the server's record are in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    kind: str
    sources: list[str]
    model: str
    state: Literal["running", "done", "failed", "interrupted", "cancelled"]
    error: str | None
    started_at: str
    started_by: str | None
    seen: int
    indexed: int
    unchanged: int
    moved: int
    removed: int
    failed: int
    skipped: int
    notices: list[str]
    seconds: float

    @property
    def is_running(self) -> bool:
        """Whether the job has not ended."""
        return self.state == "running"


class Jobs(Page):
    """A page of the jobs."""

    jobs: list[Job]


class FailedPhoto(Response):
    """A photo, folder or line of a manifest that could not be read, listed or indexed, and why."""

    uri: str | None
    path: str
    reason: str


class Failures(Page):
    """A page of the failures of a job."""

    failures: list[FailedPhoto]


class QueueCount(Response):
    """A queue of photos to review, and the number of photos that wait in it."""

    name: str
    total: int


class Queues(Response):
    """The queues of photos to review; about `changed` photos were indexed or removed since they were computed."""

    computed_at: str
    changed: int
    queues: list[QueueCount]


class QueuedPhoto(Response):
    """A photo to review, with the label that the nearest photos suggest, and the reason as a sentence."""

    photo: IndexedPhoto
    suggested: str | None
    confidence: float | None
    margin: float | None
    duplicate_of: uuid.UUID | None
    reason: str


class QueuedPhotos(Page):
    """A page of a queue."""

    photos: list[QueuedPhoto]
