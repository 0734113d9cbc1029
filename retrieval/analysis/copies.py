"""Edited copies of photos: they show whether an embedding recognizes a single photo, not only its class."""

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.metrics import COPY_METRICS
from retrieval.top_k import ENTRIES_PER_BATCH, Embeddings, Positions

SMALLEST_AREA, LARGEST_AREA = 0.35, 0.6
FAINTEST, STRONGEST = 0.8, 1.2
QUALITY = 60
DEPTHS = dict(zip(COPY_METRICS, (1, 10), strict=True))
ROUNDING = 1e-6


def edited_copy(photo: Image.Image, rng: np.random.Generator) -> bytes:
    """Return an edited copy of a photo as a JPEG.

    It has a random 35–60 % of the photo's area at the same aspect ratio, is mirrored half the time, has its brightness
    and saturation changed by factors from 0.8 to 1.2, and is compressed with JPEG quality 60.
    """
    side = float(np.sqrt(rng.uniform(SMALLEST_AREA, LARGEST_AREA)))
    width, height = max(1, round(photo.width * side)), max(1, round(photo.height * side))
    left, top = (int(rng.integers(photo.width - width + 1)), int(rng.integers(photo.height - height + 1)))
    copy = photo.crop((left, top, left + width, top + height))
    if rng.random() < 0.5:
        copy = ImageOps.mirror(copy)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Color):
        copy = enhance(copy).enhance(rng.uniform(FAINTEST, STRONGEST))
    return _jpeg(copy, QUALITY)


def near_identical_copies(photo: Image.Image) -> Iterator[bytes]:
    """Yield five copies that anyone would call the same photo, as JPEGs.

    They are half as wide and high, compressed with JPEG quality 60, cropped to 90 % of the width and height, 10 %
    brighter and 10 % darker.
    """
    width, height = photo.size
    yield _jpeg(photo.resize((max(1, width // 2), max(1, height // 2))))
    yield _jpeg(photo, QUALITY)
    yield _jpeg(photo.crop((width // 20, height // 20, width - width // 20, height - height // 20)))
    for factor in (1.1, 0.9):
        yield _jpeg(ImageEnhance.Brightness(photo).enhance(factor))


def read_near_identical(content: bytes, rule: ResizeRule, decoder: PhotoDecoder) -> npt.NDArray[np.uint8]:
    """Read the near-identical copies of an encoded photo: uint8 [5, size, size, 3]; raises as `PhotoDecoder`."""
    copies = near_identical_copies(decoder.decode(content))
    return np.stack([decoder.read_pixels(copy, rule).pixels for copy in copies])


def copy_recall(gallery: Embeddings, copies: Embeddings) -> dict[str, npt.NDArray[np.float64]]:
    """Compute for each edited copy whether its original is among the first 1 and 10 photos.

    Args:
        gallery: the photos, float32 [photos, d], unit length.
        copies: an edited copy of each photo, float32 [photos, d], unit length.

    Returns:
        metric → 0 or 1 for each copy, float64 [photos].
    """
    ranks = original_ranks(gallery, copies)
    return {metric: (ranks <= depth).astype(np.float64) for metric, depth in DEPTHS.items()}


def original_ranks(gallery: Embeddings, copies: Embeddings) -> Positions:
    """Return the rank of each copy's original among all photos, from 1, int64 [photos]; arguments as in `copy_recall`.

    An original with the same score as other photos has the first of their ranks.
    """
    threshold = np.einsum("nd,nd->n", gallery, copies) + ROUNDING
    size = max(1, ENTRIES_PER_BATCH // max(1, len(gallery)))
    ranks = np.ones(len(copies), np.int64)
    for start in range(0, len(copies), size):
        part = slice(start, start + size)
        ranks[part] += (copies[part] @ gallery.T > threshold[part, None]).sum(axis=1)
    return ranks


def _jpeg(photo: Image.Image, quality: int = 90) -> bytes:
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
