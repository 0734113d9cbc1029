"""Why a photo matched: the contribution of each region of two photos to their similarity."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import UnreadablePhoto
from retrieval.images import Crop, seen_part
from retrieval.parts import Parts


@dataclass(frozen=True, slots=True)
class Regions:
    """The contribution of each region of a photo to its similarity to another one.

    The sum of the contributions is the score of the photos; a negative one reduces it.
    """

    seen: Crop  # the part of the photo that the network sees; the grid of regions covers it
    contributions: npt.NDArray[np.float32]  # float32 [h, w], beginning at the upper left


@dataclass(frozen=True, slots=True)
class Explanation:
    """The score of a query and a result, split among the regions of each photo."""

    score: float
    query: Regions
    result: Regions


def explain(
    embedder: Embedder,
    decoder: PhotoDecoder,
    query: bytes,
    result: bytes,
    crop: Crop | None = None,
    *,
    look: float | None = None,
) -> Explanation:
    """Split the score of two encoded photos, of a query within `crop` and of a result, among their regions.

    The contribution of a region is the dot product of its share of its photo's embedding with the embedding of the
    other photo, whose parts are scaled by the weights of the search. `trainer/regions.py` describes how a network
    computes the shares, and in which cases they are exact.

    Raises:
        BadQuery: as `Parts.query`.
        NotFound: the model has no output for regions.
        UnreadablePhoto: a photo can't be decoded; the message says which.
    """
    rule, parts = embedder.bundle.resize, Parts(embedder.bundle.manifest.parts)
    with _naming("query"):
        queried = decoder.read_pixels(query, rule, crop)
    with _naming("result"):
        found = decoder.read_pixels(result, rule)
    of_query, of_result = embedder.regions(np.stack([queried.pixels, found.pixels]))
    query_embedding, result_embedding = (parts.query(cells.sum(axis=(0, 1)), look) for cells in (of_query, of_result))
    return Explanation(
        float(of_query.sum(axis=(0, 1)) @ result_embedding),
        Regions(seen_part(queried, rule, crop), of_query @ result_embedding),
        Regions(seen_part(found, rule), of_result @ query_embedding),
    )


@contextmanager
def _naming(photo: str) -> Iterator[None]:
    """Within the context, errors say which of both photos can't be used."""
    try:
        yield
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"The photo of the {photo} can't be used. {error.message}", error.remedy) from None
