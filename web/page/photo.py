"""The page of an indexed photo: a large image and its metadata."""

import uuid

from flask import render_template

from web.links import photo_url
from web.page.cards import Card, payloads
from web.photo_files import shown_type
from web.services import services


def show(photo: uuid.UUID) -> str:
    """Render the page of a photo, which is also shown over the results."""
    payload = payloads([photo])[photo]
    card = Card.of(photo, payload)
    return render_template(
        "photo.html",
        photo=card,
        payload=payload,
        location=services().shown_paths.of(payload.uri),
        original=photo_url(photo, "file"),
        large=photo_url(photo, "file" if shown_type(card.name) else "rendition"),
    )
