"""Why a photo matched: which regions of two photos make them alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.images import Crop, seen_part


@dataclass(frozen=True, slots=True)
class Regions:
    """What each region of a photo adds to its likeness with another one.

    Args:
        seen: the part of the photo that the network saw; the grid covers it.
        contributions: float32 [h, w], from the upper left; they add up to the cosine similarity of the two photos.
            Negative where a region makes them less alike.
    """

    seen: Crop
    contributions: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The cosine similarity of a query and a result, taken apart over the regions of either photo."""

    score: float
    query: Regions
    result: Regions


def explain(
    embedder: Embedder, decoder: PhotoDecoder, query: bytes, result: bytes, crop: Crop | None = None
) -> Explanation:
    """Which regions of two encoded photos make them alike.

    A region's contribution is the dot product of what it adds to its photo's embedding with the other photo's whole
    embedding. `trainer/regions.py` says how a network knows that, and what of it is exact.

    Args:
        embedder: the model.
        decoder: decodes both photos.
        query: the photo that was searched with.
        result: the photo that was found.
        crop: the part of the query that was searched; all of it where None.

    Raises:
        NotFound: the model does not say what its embeddings are made of.
        UnreadablePhoto: a photo can't be decoded.
    """
    rule = embedder.bundle.resize
    asked = decoder.read_pixels(query, rule, crop)
    found = decoder.read_pixels(result, rule)
    of_query, of_result = embedder.regions(np.stack([asked.pixels, found.pixels]))
    query_embedding, result_embedding = of_query.sum(axis=(0, 1)), of_result.sum(axis=(0, 1))
    return Explanation(
        float(query_embedding @ result_embedding),
        Regions(seen_part(asked, rule, crop), of_query @ result_embedding),
        Regions(seen_part(found, rule), of_result @ query_embedding),
    )
