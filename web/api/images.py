"""`/images`: adding a photo; `/images/{id}`: an indexed photo, those like it, its file, its thumbnail, its end."""

import uuid

from apiflask import APIBlueprint, FileSchema
from flask import Response, request, send_file, url_for
from werkzeug.exceptions import UnsupportedMediaType

from retrieval.errors import NotFound
from retrieval.photos import PhotoRef, display
from web.api.search import respond
from web.indexed import indexed
from web.keys import writes
from web.links import photo_urls
from web.schemas import NewPhoto, Photo, SearchAnswer, SearchOptions
from web.services import services
from web.validation import check_form

blueprint = APIBlueprint("images", __name__, tag="Photos")

CACHE_SECONDS = 600


@blueprint.post("/images")
@blueprint.output(Photo, status_code=201)
@blueprint.doc(responses=[400, 401, 403, 409, 413, 415, 422], security="key")
@writes
def add(**_: object) -> tuple[Photo, dict[str, str]]:
    """Add a photo: keep its file on the server, and index it with the model that serves.

    The same photo with the same label is added once, however often it is sent.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("A photo is sent as multipart/form-data.")
    sent = check_form(NewPhoto)
    served = services()
    added = served.uploads.add(served.searcher, sent.image, sent.label)
    return _photo(added.id), {"Location": url_for("images.show", photo=added.id)}


@blueprint.get("/images/<uuid:photo>")
@blueprint.output(Photo)
@blueprint.doc(responses=[404])
def show(photo: uuid.UUID) -> Photo:
    """What the index holds of a photo."""
    return _photo(photo)


@blueprint.delete("/images/<uuid:photo>")
@blueprint.output({}, status_code=204)
@blueprint.doc(responses=[401, 403, 404], security="key")
@writes
def remove(photo: uuid.UUID) -> str:
    """Take a photo out of the index; its file is deleted only where it was added over HTTP."""
    served = services()
    served.uploads.remove(served.searcher.index, PhotoRef(indexed(photo).uri))
    return ""


@blueprint.get("/images/<uuid:photo>/similar")
@blueprint.input(SearchOptions, location="query")
@blueprint.output(SearchAnswer)
@blueprint.doc(responses=[404, 422])
def similar(photo: uuid.UUID, query_data: SearchOptions) -> Response:
    """Find the photos that look like an indexed one."""
    return respond(services().searcher.by_id(photo, query_data.options()))


@blueprint.get("/images/<uuid:photo>/file")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="*/*")
@blueprint.doc(responses=[404])
def file(photo: uuid.UUID) -> Response:
    """The photo's file itself, as long as it is on disk and below the library's folders."""
    original = services().photo_files.original(indexed(photo).uri)
    try:
        answer = send_file(
            original.path,
            original.media_type or "application/octet-stream",
            as_attachment=original.media_type is None,
            download_name=display(original.path.name),
            etag=original.tag,
        )
    except OSError as error:
        raise NotFound(
            f"{display(original.path)} can't be read ({error.strerror}).", "Correct its permissions."
        ) from None
    return _cached(answer)


@blueprint.get("/images/<uuid:photo>/thumbnail")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="image/jpeg")
@blueprint.doc(responses=[404, 422])
def thumbnail(photo: uuid.UUID) -> Response:
    """The photo as a JPEG, no side longer than 320 pixels."""
    served = services()
    files = served.photo_files
    original = files.original(indexed(photo).uri)
    answer = Response(mimetype="image/jpeg")
    answer.set_etag(f"{original.tag}-thumbnail")
    if not request.if_none_match.contains(f"{original.tag}-thumbnail"):
        with served.computing:
            answer.data = files.thumbnail(original)
    answer.make_conditional(request)
    return _cached(answer)


def _photo(photo: uuid.UUID) -> Photo:
    return Photo(**{"id": photo, "label": None, **indexed(photo).as_dict(), **photo_urls(photo)})


def _cached(answer: Response) -> Response:
    """Let this browser keep it for a while, and ask afterwards whether it has changed."""
    answer.cache_control.private = True
    answer.cache_control.no_cache = None
    answer.cache_control.max_age = CACHE_SECONDS
    return answer
