"""`/searches`: the searches that a person has saved under names, for each key."""

from flask import request, url_for
from pydantic import TypeAdapter, ValidationError

from web.keys import WRITES
from web.page.saved import canonical, owner
from web.saved_searches import SavedSearch
from web.schemas.saved_searches import NewSearchName, SavedSearchList, Search, SearchName, SearchToSave
from web.services import services
from web.validation import Blueprint, InvalidRequest

blueprint = Blueprint("searches", __name__, tag="Search")

NAMES = TypeAdapter(SearchName)


@blueprint.get("/searches")
@blueprint.output(SavedSearchList)
@blueprint.doc(operation_id="listSavedSearches", responses=[403])
def show_all() -> SavedSearchList:
    """List the searches that were saved with the key of this request."""
    return SavedSearchList(searches=[_shown(search) for search in services().saved_searches.of(owner())])


@blueprint.get("/searches/<string:name>")
@blueprint.output(Search)
@blueprint.doc(operation_id="getSavedSearch", responses=[403, 404, 422])
def show(name: str) -> Search:
    """Return a saved search."""
    return _shown(services().saved_searches.find(owner(), _checked(name)))


@blueprint.put("/searches/<string:name>")
@blueprint.auth_required(WRITES)
@blueprint.input(SearchToSave)
@blueprint.output(Search)
@blueprint.doc(
    operation_id="saveSearch",
    responses={
        201: "The name is new",
        400: "Bad Request",
        403: "Forbidden",
        415: "Unsupported Media Type",
        422: "Unprocessable Entity",
    },
)
def save(name: str, json_data: SearchToSave) -> tuple[Search, int]:
    """Save a search of the page under a name, in place of one with this name.

    A key has at most 200 saved searches. The photo of a search by an upload is kept with it, as long as the photos of
    all saved searches have at most 500 MB and the server still has it.
    """
    address = canonical(json_data.address)
    saved, is_new = services().saved_searches.save(owner(), _checked(name), address)
    return _shown(saved), 201 if is_new else 200


@blueprint.patch("/searches/<string:name>")
@blueprint.auth_required(WRITES)
@blueprint.input(NewSearchName)
@blueprint.output(Search)
@blueprint.doc(operation_id="renameSavedSearch", responses=[400, 403, 404, 409, 415, 422])
def rename(name: str, json_data: NewSearchName) -> Search:
    """Rename a saved search."""
    return _shown(services().saved_searches.rename(owner(), _checked(name), json_data.name))


@blueprint.delete("/searches/<string:name>")
@blueprint.auth_required(WRITES)
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="removeSavedSearch", responses=[403, 404, 422])
def remove(name: str) -> str:
    """Remove a saved search, and the photo that was kept for it."""
    services().saved_searches.remove(owner(), _checked(name))
    return ""


def _checked(name: str) -> str:
    try:
        return NAMES.validate_python(name)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidRequest(422, [{"field": "name", "message": message}]) from None


def _shown(search: SavedSearch) -> Search:
    return Search(
        name=search.name,
        address=request.script_root + search.address,
        page_url=url_for("page.saved", name=search.name),
        saved_at=search.saved_at,
        photo_kept=services().saved_searches.keeps_photo(search),
    )
