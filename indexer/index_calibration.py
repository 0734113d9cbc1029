"""Calibration of a bundle that has no calibration data, on a sample of its index."""

import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from indexer.gallery import draw_points
from retrieval.analysis.calibration import FEWEST_PHOTOS, calibration_data, pairs_of
from retrieval.analysis.copies import read_near_identical
from retrieval.bundle_format import CalibrationData, Pairs
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError
from retrieval.index import Point, VectorIndex
from retrieval.index.vectors import Vector
from retrieval.parts import Parts
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_photo

SAMPLE = 5_000
COPIED = 50  # photos; each of their five copies is edited, decoded and embedded: 20 ms of one core
GROWTH = 2  # by which the sample must be able to grow before an index is calibrated again
FEWEST_LABELLED = 0.5  # share of photos; with fewer, the labels are not used

log = logging.getLogger("lookalike")


def calibrate(index: VectorIndex, embedder: Embedder, decoder: PhotoDecoder) -> None:
    """Calibrate scores on a sample of an index and store the result with it, unless the bundle has calibration data.

    This is repeated when the index has doubled, up to the size of the sample, and when its photos get labels. If it
    is not possible, a warning is logged, since the index works without it.
    """
    manifest = embedder.bundle.manifest
    if manifest.calibration_data is not None:
        return
    try:
        has_labels = _has_labels(index)
        if _is_due(index, has_labels):
            data = _calibration(index, has_labels, Parts(manifest.parts), embedder, decoder)
            if data is not None:
                index.save_calibration(data)
    except LookalikeError as error:
        log.warning("The scores of %s could not be calibrated. %s", index.model, error)


def _has_labels(index: VectorIndex) -> bool:
    """Whether enough photos have labels, and at least two different ones."""
    labels = index.labels()
    return len(labels) > 1 and sum(labels.values()) >= FEWEST_LABELLED * index.count()


def _is_due(index: VectorIndex, has_labels: bool) -> bool:
    """Whether an index is not calibrated, was calibrated on a much smaller sample, or on photos without its labels."""
    known, photos = index.calibration(), index.count()
    if known is None:
        return photos >= FEWEST_PHOTOS
    return GROWTH * known.gallery < min(photos, SAMPLE) or (known.photos.same_label is None) == has_labels


def _calibration(
    index: VectorIndex, has_labels: bool, parts: Parts, embedder: Embedder, decoder: PhotoDecoder
) -> CalibrationData | None:
    """Return the calibration data of a sample of an index; None if there are too few photos."""
    points = list({point.payload.sha256: point for point in draw_points(index, SAMPLE)}.values())
    if has_labels:
        points = [point for point in points if point.payload.label is not None]
    if not points:
        return None
    labels = np.array([str(point.payload.label) for point in points]) if has_labels else None
    data = calibration_data(np.stack([point.vector for point in points]), labels, parts, of_index=True)
    return data if data is None else data.model_copy(update={"copies": _copies(points, parts, embedder, decoder)})


def _copies(points: Iterable[Point], parts: Parts, embedder: Embedder, decoder: PhotoDecoder) -> Pairs | None:
    """Pair photos of this machine with near-identical copies of them; None if too few can be read."""
    originals: list[Vector] = []
    pixels: list[npt.NDArray[np.uint8]] = []
    for point in points:
        photo = PhotoRef(point.payload.uri)
        if len(originals) == COPIED:
            break
        if not photo.is_local:
            continue
        try:
            pixels.append(
                read_near_identical(read_photo(photo, decoder.policy.max_bytes), embedder.bundle.resize, decoder)
            )
        except Exception:  # decoders raise many kinds of errors for damaged files
            continue
        originals.append(point.vector)
    if len(originals) < FEWEST_PHOTOS:
        return None
    copies = np.concatenate([embedder.embed(of_photo) for of_photo in pixels])
    return pairs_of(np.repeat(originals, len(pixels[0]), axis=0), copies, parts)
