"""The search page: start page, search by an uploaded photo, and search by URL."""

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from flask import render_template, request

from retrieval.errors import BadQuery, NoModel, NotFound
from retrieval.images import Crop
from retrieval.index.vectors import Vector
from retrieval.labels import composed
from retrieval.search import SearchParameters
from retrieval.search_response import SearchResponse
from retrieval.terms import Term
from web.kept_queries import KeptQuery
from web.links import photo_url
from web.page import add
from web.page.address import PAGE_SIZE, PageQuery, crop_text, decode_vector, encode_vector
from web.page.bands import in_bands
from web.page.cards import Card, Picture, payloads
from web.page.column_filters import chosen, offered
from web.page.groups import is_known, offered_groups, others_of
from web.page.label_choices import choose_labels
from web.page.terms import terms_of
from web.photo_files import make_jpeg
from web.schemas.fields import API, MAX_OFFSET
from web.schemas.queries import CropBox
from web.services import services
from web.validation import check_fields

STARTERS = 18
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Subject:
    """The query photo."""

    picture: Picture | None = None  # its image; None if it was uploaded in an earlier request, and is not kept
    vector: Vector | None = None  # embedding of an upload or of a part of an indexed photo; None if the index has it
    label: str | None = None  # the label of an indexed photo
    original: str | None = None  # the URL of an indexed photo's file
    sha256: str | None = None  # of the file of an upload that is searched as a whole
    took_ms: Mapping[str, float] = field(default_factory=dict)  # milliseconds of each step of embedding in this request


def show() -> str:
    """The start page, or the results of the search in the URL; without photos, the page that adds some."""
    query = check_fields(PageQuery, request.args)
    if not query.is_search:
        if _is_empty():
            return add.show_first()
        return render_template("start.html", **_frame(), photos=_starters())
    return _results(query, subject_of(query))


def upload() -> str:
    """Search by an uploaded photo; the URL of the results contains its embedding and, if it is kept, its token."""
    query = check_fields(PageQuery, request.form)
    data, sha256 = _sent_photo(query)
    served = services()
    with served.computing:
        vector, took_ms = served.searcher.embed(data, query.crop.crop())
        preview = make_jpeg(data, served.searcher.decoder)
    encoded, model = encode_vector(vector), served.searcher.index.model
    kept = served.kept_queries.keep(KeptQuery(vector, data, preview, sha256))
    if not kept:  # all pages use the embedding in the URL
        vector = decode_vector(encoded, len(vector))
    query = query.model_copy(update={"id": None, "vector": encoded, "model": model, "kept": kept})
    return _results(query, Subject(Picture.embedded(preview), vector, sha256=_of_whole(sha256, query), took_ms=took_ms))


def _sent_photo(query: PageQuery) -> tuple[bytes, str]:
    """Return the photo of an upload and the SHA-256 of its file: of a kept query, if one is named, or of the request.

    A browser that sends a smaller copy of a photo adds the hash of its file.
    """
    kept = services().kept_queries.find(query.kept)
    if kept is not None:
        return kept.photo, kept.sha256
    # Without scripts, a browser sends an empty file for each input in which none was chosen.
    sent = [data for file in request.files.getlist("image") if (data := file.read())]
    if len(sent) > 1:
        raise BadQuery("Several photos were uploaded.", "Choose one.")
    if not sent:
        raise BadQuery("No photo was uploaded.", "Choose a photo, then press Search.")
    (data,) = sent
    sha256 = request.form.get("sha256", "")
    return data, sha256 if SHA256.fullmatch(sha256) else hashlib.sha256(data).hexdigest()


def subject_of(query: PageQuery) -> Subject:
    """Return the query photo of the search in a URL; raises `BadQuery` if the URL is truncated or of another model."""
    if query.id is not None:
        return _indexed_subject(query.id, query.crop.crop())
    if query.vector:
        _check_model(query.model)
        return _uploaded_subject(query)
    return Subject()


def _uploaded_subject(query: PageQuery) -> Subject:
    served = services()
    dimension = served.searcher.index.dimension
    kept = served.kept_queries.find(query.kept)
    if kept is None or len(kept.vector) != dimension:
        return Subject(vector=decode_vector(query.vector, dimension))
    return Subject(Picture.embedded(kept.preview), kept.vector, sha256=_of_whole(kept.sha256, query))


def _indexed_subject(photo: uuid.UUID, crop: Crop | None) -> Subject:
    payload = payloads([photo])[photo]
    subject = Subject(Picture.of(photo, payload), label=payload.label, original=photo_url(photo, "file"))
    if crop is None:
        return subject
    served = services()
    data = served.photo_files.content(served.photo_files.original(payload.uri))
    with served.computing:
        vector, took_ms = served.searcher.embed(data, crop)
    return replace(subject, vector=vector, took_ms=took_ms)


def _results(query: PageQuery, subject: Subject) -> str:
    served = services()
    filters = chosen(query.only, query.limits)
    query = query.model_copy(update={"only": filters.values, "limits": filters.limits})
    unknown_group = "" if not query.group_by or is_known(query.group_by) else query.group_by
    if unknown_group:
        query = query.model_copy(update={"group_by": ""})
    query, gone = without_gone_examples(query)
    query, response, unknown = _search_by_known_labels(query, subject)
    examples, known = payloads([*query.like, *query.unlike]), response.in_collection
    deeper = query.offset + PAGE_SIZE
    is_full = len(response.results) == PAGE_SIZE and deeper <= MAX_OFFSET
    return render_template(
        "results.html",
        **_frame(),
        query=query,
        subject=subject,
        crop=query.crop.crop() and crop_text(query.crop),
        box=query.crop,
        likes=[Card.of(photo, examples[photo]) for photo in query.like],
        unlikes=[Card.of(photo, examples[photo]) for photo in query.unlike],
        bands=in_bands(
            response.results,
            None if query.diverse else response.bands,
            fold=not query.group_by,
            of_words=bool(query.text),
        ),
        others=others_of(query, response.results),
        group_columns=offered_groups(query.group_by),
        unknown_group=unknown_group,
        thresholds=response.bands,
        predicted=response.predicted_label,
        in_collection=known and Card.of(known, payloads([known])[known]),
        look=None if query.text else response.look,
        without_photo=query.address(id=None, vector="", crop=CropBox(), offset=0),
        default_look=served.searcher.parts.default_look,
        gone_examples=gone,
        unknown_labels=unknown,
        labels=choose_labels(served.label_counts.of(served.searcher.index), query.label, query.find),
        columns=offered(query.only, query.limits),
        unknown_columns=filters.unknown,
        all_columns=query.address(only=[], limits={}, offset=0),
        first=query.offset + 1,
        no_close_match=response.close_match is False,
        address=query.address(),
        more_link=query.address(offset=deeper) if is_full else None,
        all_labels=query.address(label=[], offset=0),
        whole=query.address(crop=CropBox(), offset=0),
        on_map=query.address("page.map"),
        explain=f"{request.script_root}{API}/explain" if served.searcher.embedder.has_regions else None,
    )


def without_gone_examples(query: PageQuery) -> tuple[PageQuery, int]:
    """Leave out the examples that are no longer indexed, if anything else remains; return the search and how many."""
    examples = [*query.like, *query.unlike]
    known = services().searcher.index.get(examples) if examples else {}
    kept = {name: [photo for photo in getattr(query, name) if photo in known] for name in ("like", "unlike")}
    found = query.model_copy(update=kept)
    return (found, len(examples) - len(found.like) - len(found.unlike)) if found.is_search else (query, 0)


def _search_by_known_labels(query: PageQuery, subject: Subject) -> tuple[PageQuery, SearchResponse, list[str]]:
    """Search without the labels that no photo has any more; return the search, its response and these labels."""
    try:
        return query, _search(query, subject), []
    except NotFound:
        known = services().searcher.index.labels()
        unknown = [label for label in query.label if composed(label) not in known]
        if not unknown:
            raise
    query = query.model_copy(update={"label": [label for label in query.label if label not in unknown]})
    return query, _search(query, subject), unknown


def _search(query: PageQuery, subject: Subject) -> SearchResponse:
    parameters = query.parameters(services().searcher.bands(None if query.text else query.look, query.kind))
    response = search_by(query, subject, parameters)
    response = replace(response, took_ms={**subject.took_ms, **response.took_ms})
    services().metrics.observe_search(response)
    return response


def search_by(query: PageQuery, subject: Subject, parameters: SearchParameters) -> SearchResponse:
    """Search by the photo and the examples of a query, with other parameters than its own."""
    if query.text:
        return _search_by_words(query, subject, parameters)
    by_id = [query.id] if query.id is not None and subject.vector is None else []
    unindexed = [] if subject.vector is None else [subject.vector]
    return services().searcher.by_examples(
        [*by_id, *query.like],
        query.unlike,
        parameters,
        unindexed=unindexed,
        sha256=subject.sha256,
        leave_out=[query.id] if query.id else [],
    )


def _search_by_words(query: PageQuery, subject: Subject, parameters: SearchParameters) -> SearchResponse:
    """Search by words and, with their weights, by the photo and the examples."""
    photo = None
    if subject.vector is not None:
        photo = Term(vector=subject.vector)
    elif query.id is not None:
        photo = Term(photo=query.id)
    terms = terms_of(query, photo, query.like, query.unlike)
    served = services()
    with served.computing:
        return served.searcher.by_terms(terms, replace(parameters, look=None))


def _of_whole(sha256: str, query: PageQuery) -> str | None:
    """Return the hash of an upload; None if a part of it is searched, or together with examples."""
    return sha256 if query.crop.crop() is None and not query.like and not query.unlike else None


def _is_empty() -> bool:
    """Whether there is no model yet, or no photo."""
    try:
        return not services().searcher.index.count(exact=False)
    except NoModel:
        return True


def _frame() -> dict[str, Any]:
    """The variables that all states of the page need."""
    served = services()
    settings = served.settings
    return {
        "count": served.searcher.index.count(exact=False),
        "max_upload_mb": settings.max_upload_mb,
        "keep_minutes": settings.query_keep_minutes,
        "has_words": served.searcher.has_words,
    }


def _starters() -> list[Card]:
    """The first photos of the index; their ids are hashes, so they are as good as a random sample."""
    photos = islice(services().searcher.index.scroll_payloads(STARTERS), STARTERS)
    return [Card.of(photo, payload) for photo, payload in photos]


def _check_model(model: str) -> None:
    current = services().searcher.index.model
    if current.startswith(model) and model != current:
        raise BadQuery("This link is incomplete.", "Copy the whole link, or search with the photo itself.")
    if model != current:
        raise BadQuery(
            f"This link was made with the model {model}, but the current model is {current}.",
            "Search with the photo itself again.",
        )
