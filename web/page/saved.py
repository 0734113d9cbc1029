"""Saved searches: which addresses can be saved, and opening one."""

from urllib.parse import parse_qsl, urlsplit

from flask import redirect, request, url_for
from werkzeug import Response
from werkzeug.datastructures import MultiDict

from retrieval.api_keys import Scope
from retrieval.errors import BadQuery
from web import keys
from web.kept_queries import KeptQuery
from web.page.address import PageQuery, encode_vector
from web.page.photos import PhotosQuery
from web.services import services
from web.validation import check_fields


def show(name: str) -> Response:
    """Redirect to a saved search.

    If another model has become the current one since, an uploaded photo that was kept is embedded again, and the search
    is saved with its new embedding.
    """
    key = owner()
    saved = services().saved_searches.find(key, name)
    fresh = _embedded_again(saved.address)
    if fresh is not None:
        saved, _ = services().saved_searches.save(key, name, fresh)
    return redirect(request.script_root + saved.address)


def owner() -> str:
    """Return the name of the key of the current request; raises `Unauthorized` if there is none."""
    keys.require(Scope.READ)
    key = keys.current()
    assert key is not None
    return key.name


def canonical(address: str) -> str:
    """Return the address of a search or of a list of photos, without the root of the server and its offset.

    Raises `BadQuery` if it is the address of something else, and `InvalidRequest` if one of its fields is wrong.
    """
    query = _query_of(address.removeprefix(request.script_root))
    if query is None or (isinstance(query, PageQuery) and not query.is_search):
        raise BadQuery("This is not the address of a search.", "Save the address of a page with results.")
    return query.address(offset=0).removeprefix(request.script_root)


def _query_of(address: str) -> PageQuery | PhotosQuery | None:
    """Return the fields of an address below the root of the server; None if it is not that of a search."""
    try:
        split, root = urlsplit(address), request.script_root
    except ValueError:
        return None
    fields = MultiDict(parse_qsl(split.query, keep_blank_values=True))
    if split.path == url_for("page.photos").removeprefix(root):
        return check_fields(PhotosQuery, fields)
    return check_fields(PageQuery, fields) if split.path == url_for("page.show").removeprefix(root) else None


def _embedded_again(address: str) -> str | None:
    """Return the address of a search with an embedding of the current model; None if it needs none, or has no photo."""
    served, query = services(), _query_of(address)
    if not isinstance(query, PageQuery) or not query.vector or query.model == served.searcher.index.model:
        return None
    kept = served.kept_queries.find(query.kept)
    if kept is None:
        return None
    with served.computing:
        vector, _ = served.searcher.embed(kept.photo, query.crop.crop())
    token = served.kept_queries.keep(KeptQuery(vector, kept.photo, kept.preview, kept.sha256))
    model = served.searcher.index.model
    fresh = query.model_copy(update={"vector": encode_vector(vector), "model": model, "kept": token})
    return fresh.address().removeprefix(request.script_root)
