"""The page of the map, on which the query of a search can be marked."""

import uuid
from dataclasses import dataclass

from flask import render_template, request

from retrieval.api_keys import Scope
from retrieval.search import SearchParameters
from web.keys import offers
from web.page.address import PageQuery
from web.page.cards import Picture
from web.page.search import search_by, subject_of
from web.schemas import API
from web.services import services
from web.validation import check_fields

NEAREST = 100  # the map may be that of a sample, in which many neighbours are missing


@dataclass(frozen=True, slots=True)
class Here:
    """The query of a search: its address and photo, its id if it is indexed, and the photos nearest to it."""

    address: str
    picture: Picture | None
    itself: uuid.UUID | None
    near: list[uuid.UUID]


def show() -> str:
    """The map of all photos, in which similar photos are close together, with the query of the search in the URL.

    Raises `NoModel` if there is no model yet.
    """
    query = check_fields(PageQuery, request.args)
    services().searcher  # noqa: B018 - opens it
    here = _here(query) if query.is_search else None
    return render_template("map.html", api=f"{request.script_root}{API}", writable=offers(Scope.WRITE), here=here)


def _here(query: PageQuery) -> Here:
    subject = subject_of(query)
    response = search_by(query, subject, SearchParameters(NEAREST, look=query.look))
    itself = query.id if subject.vector is None else response.in_collection
    return Here(query.address(), subject.picture, itself, [result.id for result in response.results])
