"""`/images/zip` and `/images/export`: the files of selected photos, and what the index stores of them."""

import uuid
from collections.abc import Iterator, Sequence
from threading import Semaphore
from typing import Any

from apiflask import FileSchema
from flask import Response
from werkzeug.exceptions import ServiceUnavailable

from indexer.export.columns import StoredColumns
from indexer.export.selection import selection_text
from retrieval.columns.schema import read_schema
from retrieval.errors import BadQuery, NotFound
from retrieval.index import Payload
from web.columns import hidden_columns
from web.keys import sees_uris
from web.photo_zip import ZippedPhoto, zip_photos
from web.schemas.browsing import ExportedSelection, Selection
from web.services import Services, services
from web.validation import Blueprint

blueprint = Blueprint("selection", __name__, tag="Photos")

READ_AT_ONCE = 1000
MISSING_HEADER = "Missing-Photos"
MEDIA_TYPES = {"csv": "text/csv", "json": "application/json"}


@blueprint.post("/images/zip")
@blueprint.input(Selection, arg_name="selection")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="application/zip")
@blueprint.doc(operation_id="zipPhotos", responses=[400, 404, 413, 415, 422])
def zip_files(selection: Selection) -> Response:
    """Return the files of photos as a ZIP archive, unchanged and not compressed.

    The archive is written while it is sent. If it ends with a file `MISSING.txt`, this lists the photos that are no
    longer indexed, and those with files that can't be read any more. `LOOKALIKE_ZIP_PHOTOS` limits the number of
    photos, and `LOOKALIKE_ZIP_MB` their size.
    """
    served = services()
    limit = served.settings.zip_photos
    ids = list(dict.fromkeys(selection.ids))
    if len(ids) > limit:
        raise BadQuery(
            f"{len(ids):,} photos are selected, and a ZIP archive may have {limit:,}.",
            "Select fewer photos. LOOKALIKE_ZIP_PHOTOS sets the limit.",
        )
    found = _indexed(ids)
    _check_size(served, [payload for _, payload in found])
    known, path_of = {photo for photo, _ in found}, served.shown_paths.of
    photos = [ZippedPhoto(payload.uri, path_of(payload.uri), payload.modified_at) for _, payload in found]
    missing = [str(photo) for photo in ids if photo not in known]
    body = _counted(served.zips, zip_photos(served.photo_files, photos, missing))
    next(body)
    response = Response(body, mimetype="application/zip")
    response.headers["Content-Disposition"] = 'attachment; filename="photos.zip"'
    return response


@blueprint.post("/images/export")
@blueprint.input(ExportedSelection, arg_name="selection")
@blueprint.output(FileSchema(type="string", format="binary"), content_type="*/*")
@blueprint.doc(operation_id="exportPhotos", responses=[400, 404, 413, 415, 422])
def export(selection: ExportedSelection) -> Response:
    """Return a table of photos: CSV, or a JSON array with an object for each photo.

    The columns are those of `lookalike export` without embeddings, and `path`. The header `Missing-Photos` has the
    number of photos that are no longer indexed.
    """
    ids = list(dict.fromkeys(selection.ids))
    found = _indexed(ids)
    extra = (payload.extra for _, payload in found)
    columns = StoredColumns(read_schema(services().searcher.index), extra, hidden_columns())
    path_of = services().shown_paths.of
    further: dict[str, list[Any]] = {"path": [path_of(payload.uri) for _, payload in found]}
    if not sees_uris():
        further["uri"] = [None] * len(found)
    text = selection_text(columns, found, further, selection.format)
    response = Response(text, mimetype=MEDIA_TYPES[selection.format])
    response.headers["Content-Disposition"] = f'attachment; filename="photos.{selection.format}"'
    response.headers[MISSING_HEADER] = str(len(ids) - len(found))
    return response


def _indexed(ids: Sequence[uuid.UUID]) -> list[tuple[uuid.UUID, Payload]]:
    """The photos that are still indexed; raises `NotFound` if none is."""
    index, known = services().searcher.index, dict[uuid.UUID, Payload]()
    for start in range(0, len(ids), READ_AT_ONCE):
        known |= index.get(ids[start : start + READ_AT_ONCE])
    if not known:
        raise NotFound("None of these photos is indexed.", "Search results contain the ids of indexed photos.")
    return [(photo, known[photo]) for photo in ids if photo in known]


def _check_size(served: Services, photos: Sequence[Payload]) -> None:
    size, limit = sum(photo.bytes for photo in photos), served.settings.zip_mb
    if size > limit * 1_000_000:
        raise BadQuery(
            f"The selected photos have {size / 1_000_000:,.0f} MB, and a ZIP archive may have {limit:,} MB.",
            "Select fewer photos. LOOKALIKE_ZIP_MB sets the limit.",
        )


def _counted(running: Semaphore, archive: Iterator[bytes]) -> Iterator[bytes]:
    """Nothing, then the chunks of an archive; raises `ServiceUnavailable` at once if too many are being sent."""
    if not running.acquire(blocking=False):
        raise ServiceUnavailable("Too many ZIP archives are being sent.")
    try:
        yield b""
        yield from archive
    finally:
        running.release()
