"""All photos without a query: filtered by columns, searched by words, sorted, and in pages."""

from typing import Any

from flask import render_template, request, url_for
from pydantic import Field

from retrieval.browse import Browsing, browse
from retrieval.index import Filter
from web.page.address import PAGE_SIZE, Limits
from web.page.cards import Card
from web.page.column_filters import chosen, offered
from web.schemas import MAX_OFFSET, Label, Sort
from web.services import services
from web.validation import check_fields

ORDERS = {
    "": "Any order",
    "-taken": "Taken last",
    "taken": "Taken first",
    "-modified": "Changed last",
    "name": "Name",
    "label": "Label",
    "-bytes": "Largest file",
}


class PhotosQuery(Limits):
    """Which photos the page shows; `only` and `limits` as for a search."""

    q: str = Field("", max_length=500)
    sort: Sort = ""
    label: list[Label] = Field([], max_length=100)
    offset: int = Field(0, ge=0, le=MAX_OFFSET)

    def address(self, **changes: object) -> str:
        """Return the shortest URL of these photos, with the given changes."""
        query = self.model_copy(update=changes)
        fields: dict[str, Any] = {**query.model_dump(exclude={"limits"}), **query.limits}
        return url_for("page.photos", **{name: value for name, value in fields.items() if value})


def show() -> str:
    """A page of the photos of the index."""
    query = check_fields(PhotosQuery, request.args)
    filters = chosen(query.only, query.limits)
    query = query.model_copy(update={"only": filters.values, "limits": filters.limits})
    wanted = Browsing(Filter(tuple(query.label), filters.condition), query.q, query.sort, query.offset, PAGE_SIZE)
    found, total = browse(services().searcher.index, wanted)
    deeper, before = query.offset + PAGE_SIZE, max(0, query.offset - PAGE_SIZE)
    return render_template(
        "photos.html",
        query=query,
        address=query.address(offset=0),
        photos=[Card.of(photo.id, photo.payload) for photo in found],
        total=total,
        first=query.offset + 1,
        orders=ORDERS,
        columns=offered(query.only, query.limits),
        unknown_columns=filters.unknown,
        all_columns=query.address(only=[], limits={}, offset=0),
        next_link=query.address(offset=deeper) if deeper < min(total, MAX_OFFSET + 1) else None,
        previous_link=query.address(offset=before) if query.offset else None,
    )
