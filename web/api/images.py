"""`/images`: add, show and remove photos, search by them, and return their files, thumbnails and renditions."""

import io
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from apiflask import FileSchema
from flask import Response, request, send_file, url_for
from werkzeug.http import quote_etag

from indexer.corrections import version_of
from indexer.exclusions import restore_excluded
from indexer.removed_photos import photos_removed_by_person
from retrieval.browse import browse
from retrieval.errors import BadQuery, NotFound, UnreadablePhoto, os_errors_as
from retrieval.index.base import IndexedPhoto
from retrieval.index.payload import Payload
from retrieval.photo_ref import display
from web.api.search import respond
from web.indexed import indexed
from web.keys import WRITES, current
from web.links import fields_of_many, fields_of_one
from web.photo_files import PhotoFile
from web.problems import problem_of
from web.schemas.browsing import BrowsingOptions, ImageList
from web.schemas.fields import PageOptions
from web.schemas.photos import (
    AddedPhoto,
    AddedPhotoOrPhotos,
    AddedPhotos,
    ColumnValues,
    FailedUpload,
    NewPhoto,
    Photo,
    PhotoChanges,
    RemovalOptions,
    RemovedPhoto,
    RemovedPhotos,
)
from web.schemas.queries import SearchOptions
from web.schemas.results import SearchResults
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("images", __name__, tag="Photos")

CACHE_SECONDS = 600


@blueprint.post("/images")
@blueprint.auth_required(WRITES)
@blueprint.input(NewPhoto, location="form_and_files", arg_name="sent")
@blueprint.output(AddedPhotoOrPhotos, status_code=201)
@blueprint.doc(operation_id="addPhoto", responses=[400, 403, 409, 413, 415, 422])
def add(sent: NewPhoto) -> tuple[AddedPhoto | AddedPhotos, int, dict[str, str]]:
    """Add photos: store their files on the server and index them with the current model.

    Sending the same photo with the same label again has no effect. With another label, it gets that, and the response
    has the former one, unless a person has confirmed the label. Of several photos, those that can't be added have an
    `error` in the response.
    """
    columns = sent.columns_of_each()
    if len(sent.image) == 1:
        photo = _added(sent.image[0], sent.label, columns[0])
        return photo, 201, {"Location": url_for("images.show", photo=photo.id)}
    photos = [_added_or_error(data, sent.label, own) for data, own in zip(sent.image, columns, strict=True)]
    return AddedPhotos(photos=photos), 201, {}


def _added_or_error(data: bytes, label: str | None, columns: ColumnValues) -> AddedPhoto | FailedUpload:
    """Add a photo of several, or return what is wrong with it; other errors concern the whole request."""
    try:
        return _added(data, label, columns)
    except (BadQuery, NotFound, UnreadablePhoto) as error:
        return FailedUpload(error=problem_of(error))


def _added(data: bytes, label: str | None, columns: ColumnValues) -> AddedPhoto:
    served, key = services(), current()
    added = served.uploads.add(served.searcher, data, label, columns, None if key is None else key.name)
    return AddedPhoto(**_photo(added.id).model_dump(), replaced_label=added.replaced_label)


@blueprint.get("/images")
@blueprint.input(BrowsingOptions, location="query")
@blueprint.output(ImageList)
@blueprint.doc(operation_id="listPhotos", responses=[422])
def list_photos(query_data: BrowsingOptions) -> ImageList:
    """List the indexed photos, filtered and sorted.

    Photos without the value by which they are sorted are last, and those with equal values are in the order of their
    ids. More than 25,000 photos can't be searched by `q`, and are sorted by name or label only after a job.
    """
    page = browse(services().searcher.index, query_data.browsing())
    fields_of = fields_of_many()
    images = [shown(photo.id, photo.payload, fields_of(photo.id, photo.payload)) for photo in page.photos]
    return ImageList(images=images, total=page.total, next=page.following.text() if page.following else None)


@blueprint.get("/images/removed")
@blueprint.input(PageOptions, location="query")
@blueprint.output(RemovedPhotos)
@blueprint.doc(operation_id="listRemovedPhotos", responses=[422])
def show_removed(query_data: PageOptions) -> RemovedPhotos:
    """List the photos that persons removed and that can be restored, the last one first."""
    removed = photos_removed_by_person(services().searcher.index)
    fields_of, start = fields_of_many(), query_data.offset
    photos = [
        RemovedPhoto(
            id=one.id,
            label=one.payload.label,
            removed_at=one.payload.removed_at,
            **{name: fields_of(one.id, one.payload)[name] for name in ("uri", "path")},
        )
        for one in removed[start : start + query_data.limit]
    ]
    return RemovedPhotos(photos=photos, total=len(removed))


@blueprint.get("/images/<uuid:photo>")
@blueprint.output(Photo)
@blueprint.doc(operation_id="getPhoto", responses=[404])
def show(photo: uuid.UUID) -> tuple[Photo, int, dict[str, str]]:
    """Return what the index stores about a photo."""
    return _tagged(_photo(photo))


@blueprint.patch("/images/<uuid:photo>")
@blueprint.auth_required(WRITES)
@blueprint.input(PhotoChanges, arg_name="sent")
@blueprint.output(Photo)
@blueprint.doc(operation_id="updatePhoto", responses=[400, 403, 404, 412, 415, 422])
def update(photo: uuid.UUID, sent: PhotoChanges) -> tuple[Photo, int, dict[str, str]]:
    """Correct the label or columns of a photo, or confirm its label; its file and its sources are not changed.

    The correction applies to the content of the photo: also to copies of its file, and with other models. Jobs keep it.
    With `If-Match`, a photo that has another version is changed only if the change has been made already.
    """
    served, key = services(), current()
    index = served.searcher.index
    served.corrections.correct(index, photo, sent.change(), None if key is None else key.name, _is_expected)
    return _tagged(_photo(photo))


@blueprint.delete("/images/<uuid:photo>")
@blueprint.auth_required(WRITES)
@blueprint.input(RemovalOptions, location="query")
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="removePhoto", responses=[403, 404, 422])
def remove(photo: uuid.UUID, query_data: RemovalOptions) -> str:
    """Remove a photo from the index; its file is deleted only if it was added over HTTP.

    Jobs leave a photo of a library out from now on, until it is restored; with `forget`, the next job adds it again.
    """
    served, found = services(), IndexedPhoto(photo, indexed(photo))
    with served.photo_files.forgetting(found.payload.uri):
        served.uploads.remove(served.searcher.index, found, forget=query_data.forget)
    return ""


@blueprint.post("/images/<uuid:photo>/restore")
@blueprint.auth_required(WRITES)
@blueprint.output(Photo)
@blueprint.doc(operation_id="restorePhoto", responses=[403, 404])
def restore(photo: uuid.UUID) -> Photo:
    """Restore a removed photo, without embedding it again; its id changes only if another photo has it now."""
    return _photo(restore_excluded(services().searcher.index, photo).id)


@blueprint.get("/images/<uuid:photo>/similar")
@blueprint.input(SearchOptions, location="query")
@blueprint.output(SearchResults)
@blueprint.doc(operation_id="findSimilarPhotos", responses=[404, 422])
def similar(photo: uuid.UUID, query_data: SearchOptions) -> Response:
    """Find the photos that look like an indexed photo."""
    return respond(services().searcher.by_id(photo, query_data.parameters()))


@blueprint.get("/images/<uuid:photo>/file")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="*/*")
@blueprint.doc(operation_id="getFile", responses=[404])
def file(photo: uuid.UUID) -> Response:
    """Return the photo's file, if it still exists and is in the library."""
    original = services().photo_files.original(indexed(photo).uri)
    return _cached(original.tag, lambda: _whole(original))


@blueprint.get("/images/<uuid:photo>/thumbnail")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="image/jpeg")
@blueprint.doc(operation_id="getThumbnail", responses=[404, 422])
def thumbnail(photo: uuid.UUID) -> Response:
    """Return the photo as a JPEG, no side longer than 320 pixels."""
    return _jpeg(photo, "thumbnail", services().photo_files.thumbnail)


@blueprint.get("/images/<uuid:photo>/rendition")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="image/jpeg")
@blueprint.doc(operation_id="getRendition", responses=[404, 422])
def rendition(photo: uuid.UUID) -> Response:
    """Return the photo as a JPEG, no side longer than 2048 pixels, for formats that browsers don't display."""
    return _jpeg(photo, "rendition", services().photo_files.rendition)


def _jpeg(photo: uuid.UUID, name: str, make: Callable[[PhotoFile], bytes]) -> Response:
    """The response with a JPEG that is made of a photo; `name` tells it from others in its ETag."""
    original = services().photo_files.original(indexed(photo).uri)
    return _cached(f"{original.tag}-{name}", lambda: Response(make(original), mimetype="image/jpeg"))


def _photo(photo: uuid.UUID) -> Photo:
    payload = indexed(photo)
    return shown(photo, payload, fields_of_one(photo, payload))


def _is_expected(version: str) -> bool:
    """Whether the current request accepts a version of a photo (`If-Match`).

    Compression adds its name to the tag of a response (`VERSION:zstd`), and a proxy that compresses makes it weak.
    """
    tags = request.if_match
    accepted = {tag.partition(":")[0] for tag in tags.as_set(include_weak=True)}
    return not tags or tags.star_tag or version in accepted


def _tagged(photo: Photo) -> tuple[Photo, int, dict[str, str]]:
    """Return a response with the version of a photo as its ETag."""
    return photo, 200, {"ETag": quote_etag(photo.version)}


def shown(photo: uuid.UUID, payload: Payload, fields: dict[str, Any]) -> Photo:
    """Return a photo as the current request may see it, by its fields of `web.links`."""
    seen = replace(payload, extra=fields["extra"])  # also in the version, which reveals no hidden value
    return Photo(**{"id": photo, "label": None, **seen.as_dict(), "version": version_of(seen), **fields})


def _whole(original: PhotoFile) -> Response:
    """Stream a local file; a file at a URL is read into memory first."""
    place = original.place
    with os_errors_as(NotFound, f"{display(place)} can't be read", "Check its permissions."):
        return send_file(
            place if isinstance(place, Path) else io.BytesIO(services().photo_files.content(original)),
            original.media_type or "application/octet-stream",
            as_attachment=original.media_type is None,
            download_name=original.name,
            etag=original.tag,
        )


def _cached(tag: str, make: Callable[[], Response]) -> Response:
    """Return a response that the browser caches and later revalidates by its tag; it is made only if it changed."""
    unchanged = request.if_none_match.contains(tag)
    response = Response(status=304) if unchanged else make()
    response.set_etag(tag)
    response.cache_control.private = True
    response.cache_control.no_cache = None
    response.cache_control.max_age = CACHE_SECONDS
    return response
