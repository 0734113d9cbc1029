"""Photos as pages show them."""

import base64
import io
import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from flask import url_for
from PIL import Image

from retrieval.errors import NotFound
from retrieval.index import Payload
from retrieval.photo_ref import file_name
from retrieval.search_response import PartScores, SearchResult
from web.links import photo_url
from web.services import services


@dataclass(frozen=True, slots=True)
class Picture:
    """An image on a page: its URL, and the width and height that determine its aspect ratio."""

    source: str
    width: int
    height: int

    @classmethod
    def of(cls, photo: uuid.UUID, known: Payload | SearchResult) -> Self:
        """The thumbnail of an indexed photo, with the aspect ratio of the photo."""
        return cls(photo_url(photo, "thumbnail"), known.width, known.height)

    @classmethod
    def embedded(cls, jpeg: bytes) -> Self:
        """A picture embedded in the page as a data URL."""
        with Image.open(io.BytesIO(jpeg)) as image:
            return cls(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", *image.size)

    @property
    def is_tiny(self) -> bool:
        """Whether it is so small that its pixels are shown as squares; smoothed, it would be unrecognizable."""
        return max(self.width, self.height) < 64


@dataclass(frozen=True, slots=True)
class Card:
    """An indexed photo in a grid; it has a score and a distance if it is a result of a search."""

    id: uuid.UUID
    name: str
    path: str  # below the library or what was indexed
    label: str | None
    picture: Picture
    score: float | None = None
    distance: float | None = None
    scores: PartScores | None = None
    copies: tuple["Card", ...] = ()  # near-identical results that are folded into this one

    @classmethod
    def of(cls, photo: uuid.UUID, known: Payload | SearchResult) -> Self:
        """The card of an indexed photo."""
        path = services().shown_paths.of(known.uri)
        return cls(photo, file_name(known.uri), path, known.label, Picture.of(photo, known))

    @classmethod
    def found(cls, result: SearchResult) -> Self:
        """The card of a result."""
        return replace(cls.of(result.id, result), score=result.score, distance=result.distance, scores=result.scores)

    @property
    def title(self) -> str:
        """A name that tells it from the others: its label and its file name."""
        return f"{self.label or 'Photo'}, {self.name}"

    @property
    def link(self) -> str:
        """The URL of a search by this photo."""
        return url_for("page.show", id=self.id)

    @property
    def details(self) -> str:
        """The URL of the page of this photo."""
        return url_for("page.photo", photo=self.id)


def shown_score(score: float) -> str:
    """Format a similarity with two digits, rounded down, so that only equal embeddings have 1.00."""
    return f"{math.floor(100 * round(score, 6)) / 100:.2f}"


def payloads(photos: Sequence[uuid.UUID]) -> Mapping[uuid.UUID, Payload]:
    """Return what the index stores about photos; raises `NotFound` if one of them is not indexed."""
    found = services().searcher.index.get(photos)
    for photo in photos:
        if photo not in found:
            raise NotFound(f"There is no indexed photo {photo}.", "It may have been removed; start with another photo.")
    return found
