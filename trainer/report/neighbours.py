"""Photos in a report, and the nearest neighbours of held-out photos."""

import base64
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from retrieval.analysis.label_issues import VOTERS
from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.photo_ref import PhotoRef
from retrieval.source_policy import SourcePolicy
from retrieval.top_k import Embeddings, Positions, Scores, top_k_of_each
from trainer.data import labels_of

NEIGHBOURS = 6
THUMBNAIL = ResizeRule(size=120, shorter_side=120)
ANY_SIZE = SourcePolicy(max_pixels=sys.maxsize)


@dataclass(frozen=True)
class Shown:
    """A photo in the report."""

    picture: str  # a data URI
    label: str
    note: str = ""
    kind: str = ""  # `right` or `wrong` for a neighbour, `query` for a query


@dataclass(frozen=True)
class HeldOut:
    """The photos of one held-out split or several, and their embeddings, float32 [photos, d]."""

    photos: Sequence[PhotoRef]
    embeddings: Embeddings
    groups: npt.NDArray[np.generic] | None = None  # of each photo; its neighbours are of other groups

    @cached_property
    def labels(self) -> npt.NDArray[np.str_]:
        """The class of each photo, str [photos]."""
        return labels_of(self.photos)

    @cached_property
    def nearest(self) -> tuple[Scores, Positions]:
        """The scores and positions of each photo's ten nearest neighbours, [photos, 10]; −∞ and −1 past the last."""
        return top_k_of_each(self.embeddings, VOTERS, groups=self.groups)

    def row(self, position: int, note: str) -> list[Shown]:
        """A photo and its nearest neighbours with their distances, marked as right or wrong."""
        query = self.photos[position]
        scores, positions = (of_each[position, :NEIGHBOURS] for of_each in self.nearest)
        distances = np.sqrt(np.maximum(0.0, 2 - 2 * scores))
        neighbours = [
            shown_photo(
                self.photos[other],
                f"distance {distance:.3f}",
                "right" if self.photos[other].label == query.label else "wrong",
            )
            for other, distance in zip(positions, distances, strict=True)
            if other >= 0
        ]
        return [shown_photo(query, note, "query"), *neighbours]


def shown_photo(photo: PhotoRef, note: str, kind: str = "") -> Shown:
    """Return a photo with its thumbnail and its label."""
    return Shown(thumbnail(photo.path.read_bytes()), str(photo.label), note, kind)


def thumbnail(content: bytes) -> str:
    """Return the thumbnail of a photo as a data URI, for any size of the photo."""
    return data_uri(Image.fromarray(PhotoDecoder(ANY_SIZE).read_pixels(content, THUMBNAIL).pixels))


def data_uri(picture: Image.Image) -> str:
    """Return a picture, reduced to a thumbnail, as a data URI."""
    picture.thumbnail((THUMBNAIL.size, THUMBNAIL.size))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
