"""What responses say about an indexed photo, as the current request may see it."""

import uuid
from collections.abc import Callable
from typing import Any, Literal

from flask import request

from retrieval.index import Payload
from retrieval.search_response import SearchResult
from web.columns import hidden_columns
from web.keys import sees_uris
from web.schemas.fields import API
from web.services import services


def photo_url(photo: uuid.UUID, part: Literal["file", "thumbnail", "rendition"]) -> str:
    """Return the URL of a file, thumbnail or rendition; faster than `url_for`, as a page of results needs many."""
    return f"{request.script_root}{API}/images/{photo}/{part}"


def fields_of_one(photo: uuid.UUID, known: Payload | SearchResult) -> dict[str, Any]:
    """Return the fields of a photo in an API response that depend on the request: where it is, and its columns.

    The URI is only for those who may see it, as are the columns of `LOOKALIKE_HIDDEN_COLUMNS`.
    """
    return fields_of_many()(photo, known)


def fields_of_many() -> Callable[[uuid.UUID, Payload | SearchResult], dict[str, Any]]:
    """Return `fields_of_one` for a response with many photos: what the request may see is determined once."""
    images, is_seen, path_of = f"{request.script_root}{API}/images/", sees_uris(), services().shown_paths.of
    hidden = hidden_columns()

    def fields(photo: uuid.UUID, known: Payload | SearchResult) -> dict[str, Any]:
        address, uri, extra = f"{images}{photo}/", known.uri, known.extra
        return {
            "uri": uri if is_seen else None,
            "path": path_of(uri),
            "extra": {name: value for name, value in extra.items() if name not in hidden} if hidden else extra,
            "image_url": f"{address}file",
            "thumbnail_url": f"{address}thumbnail",
        }

    return fields
