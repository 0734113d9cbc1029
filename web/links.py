"""What responses say about where an indexed photo is."""

import uuid
from collections.abc import Callable
from typing import Any, Literal

from flask import request

from web.keys import sees_uris
from web.schemas import API
from web.services import services


def photo_url(photo: uuid.UUID, part: Literal["file", "thumbnail", "rendition"]) -> str:
    """Return the URL of a file, thumbnail or rendition; faster than `url_for`, as a page of results needs many."""
    return f"{request.script_root}{API}/images/{photo}/{part}"


def place_fields(photo: uuid.UUID, uri: str) -> dict[str, Any]:
    """Return the fields of an API response that say where a photo is; its URI only for those who may see it."""
    return place_fields_of_many()(photo, uri)


def place_fields_of_many() -> Callable[[uuid.UUID, str], dict[str, Any]]:
    """Return `place_fields` for the current request, which takes a fifth of the time for each further photo."""
    images, is_seen, path_of = f"{request.script_root}{API}/images/", sees_uris(), services().shown_paths.of

    def fields(photo: uuid.UUID, uri: str) -> dict[str, Any]:
        address = f"{images}{photo}/"
        return {
            "uri": uri if is_seen else None,
            "path": path_of(uri),
            "image_url": f"{address}file",
            "thumbnail_url": f"{address}thumbnail",
        }

    return fields
