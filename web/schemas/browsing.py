"""Lists of photos and labels, and selections of photos."""

import uuid
from typing import Literal

from pydantic import BaseModel, Field

from indexer.export.selection import TextFormat
from retrieval.browse import Browsing
from retrieval.index import Filter
from web.columns import condition_of, order
from web.schemas.fields import MAX_OFFSET, Label, PageOptions, RequestModel, WhereText
from web.schemas.photos import Photo

MAX_SELECTION = 100_000
Sort = Literal["", "name", "-name", "label", "-label", "bytes", "-bytes", "modified", "-modified", "taken", "-taken"]


class LabelCount(BaseModel):
    """A label and the number of photos that carry it."""

    label: str
    count: int


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
