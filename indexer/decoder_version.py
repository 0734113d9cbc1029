"""Whether an indexed photo must be read again, since the decoder of this version shows it in another way."""

from retrieval.decoding.version import HEAD, VERSION, looks_different
from retrieval.errors import UnreadablePhoto
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_photo, store_of


def version_if_alike(photo: PhotoRef, version: int | None) -> int | None:
    """Return the version to record for an unchanged photo, or None if it must be read and embedded again.

    The first bytes of its file are read once, in the first job with this version. If they can't be read, the photo
    keeps its embedding and its version.

    Args:
        version: of the decoder that read the photo; None: the first.
    """
    if version == VERSION:
        return version
    try:
        head = store_of(photo.uri).head(photo.uri, HEAD)
    except UnreadablePhoto:
        return version or 1
    return None if looks_different(head, lambda: read_photo(photo), version) else VERSION
