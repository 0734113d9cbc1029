"""Whether an indexed photo must be read again, since this version shows it in another way or knows more about it."""

from dataclasses import replace

from retrieval.columns.capture import captured
from retrieval.columns.schema import PLACE
from retrieval.decoding.version import HEAD, VERSION, looks_different
from retrieval.errors import UnreadablePhoto
from retrieval.index import Payload
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_photo, store_of


def payload_if_alike(photo: PhotoRef, known: Payload, *, places: bool = False) -> Payload | None:
    """Return the payload of an unchanged photo for this version, or None if it must be read and embedded again.

    The first bytes of its file are read once, in the first job with this version. If they can't be read, the photo
    keeps its embedding and its version.

    Args:
        places: read them also if the photo has no place.
    """
    if known.decoder == VERSION and (PLACE in known.columns or not places):
        return known
    try:
        head = store_of(photo.uri).head(photo.uri, HEAD)
    except UnreadablePhoto:
        return replace(known, decoder=known.decoder or 1)
    if looks_different(head, lambda: read_photo(photo), known.decoder):
        return None
    return replace(known, decoder=VERSION, columns={**known.columns, **captured(head)})
