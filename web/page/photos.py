"""All photos without a query: filtered by columns, searched by file name or label, sorted, and in pages."""

from typing import Any

from flask import render_template, request, url_for
from pydantic import Field

from retrieval.browse import Browsing, browse
from retrieval.index import Filter
from retrieval.sort_order import Position
from web.columns import hidden_columns
from web.page.address import PAGE_SIZE, Limits
from web.page.cards import Card
from web.page.column_filters import chosen, offered
from web.schemas.browsing import Sort
from web.schemas.fields import MAX_OFFSET, Label
from web.services import services
from web.validation import check_fields

MOST_PHOTOS = 1_000_000_000  # that an address can have before a page
ORDERS = {
    "": "Any order",
    "-taken": "Taken last",
    "taken": "Taken first",
    "-modified": "Changed last",
    "modified": "Changed first",
    "name": "Name",
    "-name": "Name, reversed",
    "label": "Label",
    "-label": "Label, reversed",
    "-bytes": "Largest file",
    "bytes": "Smallest file",
}


class PhotosQuery(Limits):
    """Which photos the page shows; `only` and `limits` as for a search.

    `offset` is the number of photos before the page; beyond the largest offset, `after` says where the page starts.
    """

    q: str = Field("", max_length=500)
    sort: Sort = ""
    label: list[Label] = Field([], max_length=100)
    offset: int = Field(0, ge=0, le=MOST_PHOTOS)
    after: str = Field("", max_length=8000)

    def address(self, **changes: object) -> str:
        """Return the shortest URL of these photos, with the given changes, and only with `after` if that is given."""
        query = self.model_copy(update={"after": "", **changes})
        fields: dict[str, Any] = {**query.model_dump(exclude={"limits"}), **query.limits}
        return url_for("page.photos", **{name: value for name, value in fields.items() if value})


def show() -> str:
    """A page of the photos of the index."""
    query = check_fields(PhotosQuery, request.args)
    filters = chosen(query.only, query.limits)
    query = query.model_copy(update={"only": filters.values, "limits": filters.limits})
    if query.sort.removeprefix("-") in hidden_columns():
        query = query.model_copy(update={"sort": "", "after": ""})
    orders = {sort: title for sort, title in ORDERS.items() if sort.removeprefix("-") not in hidden_columns()}
    filter, skipped = Filter(tuple(query.label), filters.condition), 0 if query.after else query.offset
    wanted = Browsing(filter, query.q, query.sort, skipped, PAGE_SIZE, query.after)
    page = browse(services().searcher.index, wanted)
    return render_template(
        "photos.html",
        query=query,
        address=query.address(offset=0),
        photos=[Card.of(photo.id, photo.payload) for photo in page.photos],
        total=page.total,
        first=query.offset + 1,
        orders=orders,
        columns=offered(query.only, query.limits),
        unknown_columns=filters.unknown,
        all_columns=query.address(only=[], limits={}, offset=0),
        next_link=_next(query, page.following),
        previous_link=_previous(query),
    )


def _next(query: PhotosQuery, following: Position | None) -> str | None:
    """Return the address of the next page; None if there is none."""
    if following is None:
        return None
    deeper = query.offset + PAGE_SIZE
    return query.address(offset=deeper, after="" if deeper <= MAX_OFFSET else following.text())


def _previous(query: PhotosQuery) -> str | None:
    """Return the address of the page before; None if there is none, or it can't be reached by an offset."""
    before = max(0, query.offset - PAGE_SIZE)
    return query.address(offset=before) if query.offset and before <= MAX_OFFSET else None
