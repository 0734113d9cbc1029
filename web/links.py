"""What responses say about where an indexed photo is."""

import uuid
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
    return {
        "uri": uri if sees_uris() else None,
        "path": services().shown_paths.of(uri),
        "image_url": photo_url(photo, "file"),
        "thumbnail_url": photo_url(photo, "thumbnail"),
    }
