"""The page of one indexed photo: the photo itself, large, and what is known of it."""

import uuid

from flask import render_template

from retrieval.errors import NotFound, UnreadablePhoto
from retrieval.photos import display, path_of
from web.links import photo_url
from web.page.cards import Card
from web.photo_files import SHOWN_TYPES
from web.services import services


def show(photo: uuid.UUID) -> str:
    """What a click on a photo's details shows."""
    found = services().searcher.index.get([photo])
    if photo not in found:
        raise NotFound(f"There is no indexed photo {photo}.", "It may have been removed; start again from another one.")
    payload = found[photo]
    card = Card.of(photo, payload)
    suffix = card.name[card.name.rfind(".") :].lower()
    return render_template(
        "photo.html",
        photo=card,
        payload=payload,
        place=_place(payload.uri),
        original=photo_url(photo, "file"),
        large=photo_url(photo, "file" if suffix in SHOWN_TYPES else "thumbnail"),
    )


def _place(uri: str) -> str:
    """Where a photo lies, for people to read."""
    try:
        return display(path_of(uri))
    except UnreadablePhoto:  # it is not on this machine
        return display(uri)
