"""The page of the map, on which the query of a search can be marked."""

import uuid
from dataclasses import dataclass

from flask import render_template, request

from retrieval.api_keys import Scope
from retrieval.errors import NoModel, NotFound
from retrieval.search import SearchParameters
from web.keys import offers
from web.page.address import PageQuery
from web.page.cards import Picture
from web.page.search import search_by, subject_of, without_gone_examples
from web.schemas.fields import API
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
    services().searcher  # noqa: B018 - opens it
    query, gone = without_gone_examples(check_fields(PageQuery, request.args))
    here = _here(query) if query.is_search else None
    return render_template(
        "map.html",
        api=f"{request.script_root}{API}",
        writable=offers(Scope.WRITE),
        here=here,
        gone_examples=gone,
        is_gone=query.is_search and here is None,
    )


def _here(query: PageQuery) -> Here | None:
    """Return where the query of a search is; None if its photo is no longer indexed."""
    try:
        return _found(query)
    except NoModel:
        raise
    except NotFound:
        return None


def _found(query: PageQuery) -> Here:
    subject = subject_of(query)
    response = search_by(query, subject, SearchParameters(NEAREST, look=query.look))
    itself = query.id if subject.vector is None else response.in_collection
    return Here(query.address(), subject.picture, itself, [result.id for result in response.results])
