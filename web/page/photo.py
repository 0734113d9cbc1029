"""The page of one indexed photo: the photo itself, large, and what is known of it."""

import uuid

from flask import render_template

from retrieval.photos import display_uri
from web.links import photo_url
from web.page.cards import Card, payloads
from web.photo_files import SHOWN_TYPES


def show(photo: uuid.UUID) -> str:
    """What a click on a photo's details shows."""
    payload = payloads([photo])[photo]
    card = Card.of(photo, payload)
    suffix = card.name[card.name.rfind(".") :].lower()
    return render_template(
        "photo.html",
        photo=card,
        payload=payload,
        place=display_uri(payload.uri),
        original=photo_url(photo, "file"),
        large=photo_url(photo, "file" if suffix in SHOWN_TYPES else "thumbnail"),
    )
