"""`POST /search`."""

from dataclasses import replace

import numpy as np
from flask import Response

from retrieval.search import SearchParameters, SearchResponse, SearchResult
from web.indexed import photo_bytes
from web.links import photo_urls
from web.schemas import (
    EncodedPhoto,
    Examples,
    Found,
    IndexedPhoto,
    Query,
    QueryVector,
    SearchResults,
    TookMs,
    UploadedPhoto,
)
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("search", __name__, tag="Search")


@blueprint.post("/search")
@blueprint.input(UploadedPhoto, location="form_and_files", arg_name="sent", or_json=Query)
@blueprint.output(SearchResults)
@blueprint.doc(responses=[400, 404, 413, 415, 422])
def search(sent: UploadedPhoto | Query) -> Response:
    """Find photos that look like a given photo.

    Send `multipart/form-data` with a file `image`, or JSON with one of `image_base64`, `id`, `vector` and `positive`.
    """
    searcher = services().searcher
    query = sent.root if isinstance(sent, Query) else sent
    options = query.options()
    match query:
        case UploadedPhoto(image=data) | EncodedPhoto(image_base64=data):
            with services().computing:
                answer = searcher.by_photo(data, options, crop=query.crop.crop())
        case IndexedPhoto():
            answer = _by_indexed(query, options)
        case QueryVector():
            answer = searcher.by_vector(np.asarray(query.vector, np.float32), options)
        case Examples():
            answer = searcher.by_examples(query.positive, query.negative, options)
    return respond(answer)


def _by_indexed(query: IndexedPhoto, options: SearchParameters) -> SearchResponse:
    """Search by an indexed photo, or by a part of it, for which its file is read; the photo itself is excluded."""
    searcher, crop = services().searcher, query.crop.crop()
    if crop is None:
        return searcher.by_id(query.id, options)
    data = photo_bytes(query.id)
    with services().computing:
        vector, took_ms = searcher.embed(data, crop)
    answer = searcher.by_vector(vector, options, leave_out=frozenset([query.id]))
    return replace(answer, took_ms=took_ms | answer.took_ms)


def respond(answer: SearchResponse) -> Response:
    """Return the JSON of a search; pydantic writes it directly, in a third of the time that APIFlask takes."""
    services().metrics.observe_search(answer)
    body = SearchResults(
        model=services().searcher.index.model,
        took_ms=TookMs(**answer.took_ms),
        predicted_label=answer.predicted_label,
        close_match=answer.close_match,
        results=[_found(result) for result in answer.results],
    )
    return Response(body.model_dump_json(), mimetype="application/json")


def _found(result: SearchResult) -> Found:
    return Found(
        id=result.id,
        uri=result.uri,
        label=result.label,
        width=result.width,
        height=result.height,
        score=result.score,
        distance=result.distance,
        **photo_urls(result.id),
    )
