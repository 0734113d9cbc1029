"""Indexed photos, by id."""

import uuid

from retrieval.errors import NotFound
from retrieval.index import Payload
from web.services import services


def indexed(photo: uuid.UUID) -> Payload:
    """What the index holds of a photo; raises `NotFound`."""
    found = services().searcher.index.get([photo])
    if photo not in found:
        raise NotFound(f"There is no indexed photo {photo}.", "A search gives the ids of those there are.")
    return found[photo]


def photo_bytes(photo: uuid.UUID) -> bytes:
    """An indexed photo's file; raises `NotFound` where photo or file is gone or the file lies outside the library."""
    files = services().photo_files
    return files.content(files.original(indexed(photo).uri))
