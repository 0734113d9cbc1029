"""Where photos are stored: on this machine, or at URLs through fsspec."""

from retrieval.photo_ref import FileStatus, PhotoRef, is_url
from retrieval.source_policy import DEFAULT_MAX_BYTES
from retrieval.stores.base import Failure, OnSkipped, PhotoStore
from retrieval.stores.local import LocalStore, read_file

__all__ = ["Failure", "LocalStore", "OnSkipped", "PhotoStore", "photo_status", "read_file", "read_photo", "store_of"]


def store_of(name: str) -> PhotoStore:
    """The store of a source, by its path or URL, or of a photo, by its URI."""
    if not is_url(name):
        return LocalStore()
    from retrieval.stores.remote import RemoteStore  # noqa: PLC0415 - fsspec is only needed for URLs

    return RemoteStore()


def read_photo(photo: PhotoRef, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """The content of a photo's file; see `PhotoStore.read`."""
    return store_of(photo.uri).read(photo.uri, max_bytes, photo.status)


def photo_status(photo: PhotoRef) -> FileStatus:
    """The current status of a photo's file; see `PhotoStore.status`."""
    return store_of(photo.uri).status(photo.uri)
