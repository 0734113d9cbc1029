"""Indexed photos, by id."""

import uuid

from retrieval.errors import NotFound
from retrieval.index import Payload
from web.services import services


def indexed(photo: uuid.UUID) -> Payload:
    """Return what the index stores about a photo; raises `NotFound` if it is not indexed."""
    found = services().searcher.index.get([photo])
    if photo not in found:
        raise NotFound(f"There is no indexed photo {photo}.", "Search results contain the ids of indexed photos.")
    return found[photo]


def photo_bytes(photo: uuid.UUID) -> bytes:
    """Read the file of an indexed photo; raises `NotFound` if it does not exist or is outside the library."""
    files = services().photo_files
    return files.content(files.original(indexed(photo).uri))
