"""`POST /search`."""

from dataclasses import replace
from typing import Any

import numpy as np
from flask import Response

from retrieval.errors import BadQuery, NotFound, UnreadablePhoto
from retrieval.search import SearchParameters
from retrieval.search_response import SearchResponse, SearchResult
from retrieval.terms import Term
from web.indexed import photo_bytes
from web.links import fields_of_many
from web.problems import problem_of
from web.schemas import queries, results
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("search", __name__, tag="Search")


@blueprint.post("/search")
@blueprint.input(queries.UploadedPhoto, location="form_and_files", arg_name="sent", or_json=queries.QueryOrQueries)
@blueprint.output(results.ResultsOrAnswers)
@blueprint.doc(operation_id="searchPhotos", responses=[400, 404, 413, 415, 422])
def search(sent: queries.UploadedPhoto | queries.QueryOrQueries) -> Response:
    """Find photos that look like a given photo, or like each of several.

    Send `multipart/form-data` with a file `image`, or JSON with one of `image_base64`, `id`, `vector`, `positive`,
    `text`, `terms`, or `queries` with up to 100 of these. A query of several that can't be answered has an `error` in
    place of results; if a field is wrong, all are refused.
    """
    query = sent.root if isinstance(sent, queries.QueryOrQueries) else sent
    if not isinstance(query, queries.Queries):
        return respond(_answer(query))
    answers = results.Answers(answers=[_answer_or_error(each.root) for each in query.queries])
    return Response(answers.model_dump_json(), mimetype="application/json")


def _answer_or_error(query: queries.OneQuery) -> results.SearchResults | results.FailedQuery:
    """The results of a query of a batch, or what is wrong with it; other errors concern the whole batch."""
    try:
        return results_of(_answer(query))
    except (BadQuery, NotFound, UnreadablePhoto) as error:
        return results.FailedQuery(error=problem_of(error))


def _answer(query: queries.UploadedPhoto | queries.OneQuery) -> SearchResponse:
    searcher, parameters = services().searcher, query.parameters()
    match query:
        case queries.UploadedPhoto(image=data) | queries.EncodedPhoto(image_base64=data):
            with services().computing:
                return searcher.by_photo(data, parameters, crop=query.crop.crop())
        case queries.IndexedPhoto():
            return _by_indexed(query, parameters)
        case queries.QueryVector():
            return searcher.by_vector(np.asarray(query.vector, np.float32), parameters)
        case queries.Examples():
            return searcher.by_examples(query.positive, query.negative, parameters)
        case queries.Words():
            with services().computing:
                return searcher.by_words(query.text, parameters)
        case queries.Terms():
            with services().computing:
                return searcher.by_terms([_term(term) for term in query.terms], parameters)


def _term(term: queries.AnyTerm) -> Term:
    match term:
        case queries.TextTerm():
            return Term(term.weight, text=term.text)
        case queries.PhotoTerm():
            return Term(term.weight, photo=term.id)
        case queries.UploadedTerm():
            vector, _ = services().searcher.embed(term.image_base64)
            return Term(term.weight, vector=vector)


def _by_indexed(query: queries.IndexedPhoto, parameters: SearchParameters) -> SearchResponse:
    """Search by an indexed photo, or by a part of it, for which its file is read; the photo itself is excluded."""
    searcher, crop = services().searcher, query.crop.crop()
    if crop is None:
        return searcher.by_id(query.id, parameters)
    data = photo_bytes(query.id)
    with services().computing:
        vector, took_ms = searcher.embed(data, crop)
    response = searcher.by_vector(vector, parameters, leave_out=frozenset([query.id]))
    return replace(response, took_ms=took_ms | response.took_ms)


def respond(response: SearchResponse) -> Response:
    """Return the JSON of a search; pydantic writes it directly, in a third of the time that APIFlask takes."""
    return Response(results_of(response).model_dump_json(), mimetype="application/json")


def results_of(response: SearchResponse) -> results.SearchResults:
    """Return the results of a search as the current request may see them."""
    served, fields = services(), fields_of_many()
    served.metrics.observe_search(response)
    index = served.searcher.index
    return results.SearchResults(
        model=index.model,
        took_ms=results.TookMs(**response.took_ms),
        predicted_label=response.predicted_label,
        close_match=response.close_match,
        in_collection=response.in_collection,
        bands=response.bands,
        look=response.look,
        index_empty=not response.results and not index.count(),
        results=[_found(result, fields(result.id, result)) for result in response.results],
    )


def _found(result: SearchResult, fields: dict[str, Any]) -> results.Found:
    return results.Found(
        id=result.id,
        label=result.label,
        width=result.width,
        height=result.height,
        score=result.score,
        distance=result.distance,
        scores=result.scores,
        duplicate_of=result.duplicate_of,
        more=result.more,
        **fields,
    )
