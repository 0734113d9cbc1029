"""Calibration on a sample of an index: of a bundle that has no calibration data, and of searches by words."""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from indexer.gallery import draw_points
from retrieval.analysis.calibration import FEWEST_PHOTOS, calibration_data, pairs_of
from retrieval.analysis.copies import read_near_identical
from retrieval.analysis.word_calibration import calibrate_words
from retrieval.bundle_format import CalibrationData, Pairs, WordCalibration
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError
from retrieval.index import Point, VectorIndex
from retrieval.index.vectors import Vector
from retrieval.parts import LOOK, Parts
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_photo
from retrieval.text_embedder import TextEmbedder, has_tokenizers

SAMPLE = 5_000
COPIED = 50  # photos; each of their five copies is edited, decoded and embedded: 20 ms of one core
GROWTH = 2  # by which the sample must be able to grow before an index is calibrated again
FEWEST_LABELLED = 0.5  # share of photos; with fewer, the labels are not used

log = logging.getLogger("lookalike")


def calibrate(index: VectorIndex, embedder: Embedder, decoder: PhotoDecoder) -> None:
    """Calibrate scores on a sample of an index and store the result with it.

    Only a bundle that has calibration data and no text network does not need it. It is repeated when the index has
    doubled, up to the size of the sample, and when its photos get labels. If it is not possible, a warning is logged,
    since the index works without it.
    """
    has_words = embedder.bundle.has_text and has_tokenizers()
    if embedder.bundle.manifest.calibration_data is not None and not has_words:
        return
    try:
        labels = index.labels()
        if _is_due(index, labels, has_words):
            data = _calibration(index, _are_labelled(index, labels), embedder, decoder)
            if data is not None:
                index.save_calibration(data)
    except LookalikeError as error:
        log.warning("The scores of %s could not be calibrated. %s", index.model, error)


def _are_labelled(index: VectorIndex, labels: Mapping[str, int]) -> bool:
    """Whether enough photos have labels, and at least two different ones."""
    return len(labels) > 1 and sum(labels.values()) >= FEWEST_LABELLED * index.count()


def _is_due(index: VectorIndex, labels: Mapping[str, int], has_words: bool) -> bool:
    """Whether an index is not calibrated, was calibrated on a much smaller sample, or on photos without its labels."""
    known, photos = index.calibration(), index.count()
    if known is None:
        return photos >= FEWEST_PHOTOS
    if GROWTH * known.gallery < min(photos, SAMPLE):
        return True
    if (known.photos.same_label is None) == _are_labelled(index, labels):
        return True
    return has_words and _are_words_due(known.words, sum(labels.values()) * min(1, SAMPLE / max(photos, 1)))


def _are_words_due(known: WordCalibration | None, labelled: float) -> bool:
    """Whether words are not calibrated, or were with much fewer labelled photos than a sample has now."""
    return known is None or labelled >= max(FEWEST_PHOTOS, GROWTH * known.labelled)


def _calibration(
    index: VectorIndex, are_labelled: bool, embedder: Embedder, decoder: PhotoDecoder
) -> CalibrationData | None:
    """Return the calibration data of a sample of an index; None if there are too few photos."""
    parts = Parts(embedder.bundle.manifest.parts)
    sample = list({point.payload.sha256: point for point in draw_points(index, SAMPLE)}.values())
    points = [point for point in sample if point.payload.label is not None] if are_labelled else sample
    if not points:
        return None
    labels = np.array([str(point.payload.label) for point in points]) if are_labelled else None
    data = calibration_data(np.stack([point.vector for point in points]), labels, parts, of_index=True)
    if data is None:
        return None
    copies = _copies(points, parts, embedder, decoder)
    return data.model_copy(update={"copies": copies, "words": _words(sample, parts, embedder)})


def _words(points: Sequence[Point], parts: Parts, embedder: Embedder) -> WordCalibration | None:
    """Calibrate searches by words; None if the bundle has no text network, or it can't be used."""
    bundle = embedder.bundle
    if not bundle.has_text or not has_tokenizers():
        return None
    texts = TextEmbedder(bundle.tokenizer, bundle.text_network, embedder.threads)
    looks = parts.one(np.stack([point.vector for point in points]), LOOK)
    return calibrate_words(looks, [point.payload.label for point in points], texts.embed)


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
