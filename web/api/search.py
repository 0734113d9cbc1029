"""`POST /search`."""

from dataclasses import asdict

import numpy as np
from apiflask import APIBlueprint
from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from retrieval.search import Answer
from web.links import photo_urls
from web.schemas import (
    EncodedPhoto,
    Examples,
    Found,
    IndexedPhoto,
    PredictedLabel,
    Query,
    QueryVector,
    SearchAnswer,
    TookMs,
    UploadedPhoto,
)
from web.services import services
from web.validation import check_fields, check_json

blueprint = APIBlueprint("search", __name__, tag="Search")


@blueprint.post("/search")
@blueprint.output(SearchAnswer)
@blueprint.doc(responses=[400, 404, 413, 415, 422])
def search() -> SearchAnswer:
    """Find the photos that look like a photo.

    Send `multipart/form-data` with a file `image`, or JSON with one of `image_base64`, `id`, `vector` and `positive`.
    """
    searcher = services().searcher
    query = _query()
    options = query.options()
    match query:
        case UploadedPhoto(image=data) | EncodedPhoto(image_base64=data):
            with services().computing:
                answer = searcher.by_photo(data, options, crop=query.crop.crop())
        case IndexedPhoto():
            answer = searcher.by_id(query.id, options)
        case QueryVector():
            answer = searcher.by_vector(np.asarray(query.vector, np.float32), options)
        case Examples():
            answer = searcher.by_examples(query.positive, query.negative, options)
    return respond(answer)


def respond(answer: Answer) -> SearchAnswer:
    """The answer as the API gives it."""
    return SearchAnswer(
        model=services().searcher.embedder.bundle.model_id,
        took_ms=TookMs(**answer.took_ms),
        predicted_label=answer.predicted_label and PredictedLabel(**asdict(answer.predicted_label)),
        results=[Found(**asdict(result), **photo_urls(result.id)) for result in answer.results],
    )


def _query() -> UploadedPhoto | EncodedPhoto | IndexedPhoto | QueryVector | Examples:
    if request.mimetype == "multipart/form-data":
        uploads = {name: file.read() for name, file in request.files.items()}
        return check_fields(UploadedPhoto, request.form, **uploads)
    if request.mimetype == "application/json":
        return check_json(Query, request.get_data()).root
    raise UnsupportedMediaType("A search is sent as multipart/form-data or as application/json.")
