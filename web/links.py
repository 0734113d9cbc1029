"""Addresses of indexed photos on this server."""

import uuid
from typing import Literal

from flask import request

from web.schemas import API


def photo_url(photo: uuid.UUID, part: Literal["file", "thumbnail"]) -> str:
    """The address of an indexed photo's file or thumbnail; put together here, as a page of results needs many."""
    return f"{request.script_root}{API}/images/{photo}/{part}"


def photo_urls(photo: uuid.UUID) -> dict[str, str]:
    """Both addresses, as the fields that the API gives with a photo."""
    return {"image_url": photo_url(photo, "file"), "thumbnail_url": photo_url(photo, "thumbnail")}
