"""The page of an indexed photo: a large image, its metadata, and a form to correct its label."""

import uuid
from dataclasses import dataclass
from typing import Self

from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from indexer.corrections import PhotoChange, version_of
from retrieval.api_keys import Scope
from retrieval.errors import PhotoChanged
from retrieval.index import Payload
from web.keys import current, may, require_writing
from web.links import photo_url
from web.page.cards import Card, payloads
from web.photo_files import shown_type
from web.schemas.photos import PhotoChanges
from web.services import services
from web.validation import check_fields

MOST_LABELS = 500  # that are suggested


@dataclass(frozen=True, slots=True)
class Labelling:
    """The form to correct the label of a photo, and who has done so."""

    label: str  # in the field
    version: str  # that the form replaces
    suggestions: list[str]
    by: str | None  # who corrected or confirmed the label: "you" or the name of a key; None if it is not corrected
    confirmed: bool
    is_changed: bool
    original: str | None  # the label before
    is_outdated: bool  # whether somebody else changed the photo meanwhile

    @classmethod
    def of(cls, photo: Payload, typed: str | None = None) -> Self:
        """Return the form of a photo; `typed` is the label that could not be saved, since the photo was changed."""
        served, key = services(), current()
        correction = served.corrections.log.of(photo.sha256)
        by = None
        if correction is not None and correction.sets_label and correction.new == photo.label:
            by = "you" if key is not None and correction.key == key.name else correction.key or "somebody"
        original = photo.label if correction is None or by is None else correction.original
        return cls(
            label=(photo.label or "") if typed is None else typed,
            version=version_of(photo),
            suggestions=list(served.label_counts.of(served.searcher.index))[:MOST_LABELS],
            by=by,
            confirmed=photo.confirmed,
            is_changed=original != photo.label,
            original=original,
            is_outdated=typed is not None,
        )


def show(photo: uuid.UUID) -> str:
    """Render the page of a photo, which is also shown over the results."""
    return _page(photo)


def correct(photo: uuid.UUID) -> Response:
    """Save the label of a photo, or withdraw its correction, and show the photo again."""
    require_writing(Scope.WRITE)
    served, key = services(), current()
    typed = request.form.get("label", "")
    seen = request.form.get("version", "")
    index, name = served.searcher.index, None if key is None else key.name
    change = _undone(photo) if "undo" in request.form else _labelled(typed)
    try:
        served.corrections.correct(index, photo, change, name, lambda version: version == seen)
    except PhotoChanged:
        return Response(_page(photo, typed), 412, mimetype="text/html")
    return redirect(url_for("page.photo", photo=photo), 303)


def _labelled(typed: str) -> PhotoChange:
    if not typed.strip():
        return PhotoChange(None)
    return check_fields(PhotoChanges, MultiDict({"label": typed})).change()


def _undone(photo: uuid.UUID) -> PhotoChange:
    payload = payloads([photo])[photo]
    return PhotoChange(Labelling.of(payload).original, confirmed=False)


def _page(photo: uuid.UUID, typed: str | None = None) -> str:
    payload = payloads([photo])[photo]
    card = Card.of(photo, payload)
    is_writable = may(Scope.WRITE) and not services().settings.read_only
    return render_template(
        "photo.html",
        photo=card,
        payload=payload,
        location=services().shown_paths.of(payload.uri),
        original=photo_url(photo, "file"),
        large=photo_url(photo, "file" if shown_type(card.name) else "rendition"),
        labelling=Labelling.of(payload, typed) if is_writable else None,
    )
