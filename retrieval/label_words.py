"""The labels of an index as words, which suggest a label for a photo."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from retrieval.analysis.calibration import probability
from retrieval.analysis.word_calibration import as_words, margins_of, most_frequent
from retrieval.bundle_format import VoteCalibration
from retrieval.index import VectorIndex
from retrieval.index.vectors import Vector
from retrieval.label_prediction import PredictedLabel

READ_EVERY_SECONDS = 60
LEAST_CONFIDENCE = 0.75  # at this probability, one suggestion in four is wrong


class LabelWords:
    """Suggests the label with the nearest name.

    Source: zero-shot classification, Radford et al., "Learning Transferable Visual Models From Natural Language
    Supervision", 2021, arXiv:2103.00020.

    Args:
        index: with photos of these labels; they are read once a minute at most.
        embed: returns the embedding of a text, float32 [d], unit length.
    """

    def __init__(self, index: VectorIndex, embed: Callable[[str], Vector]) -> None:
        self._index, self._embed = index, embed
        self._labels: list[str] = []
        self._read_at = -math.inf
        self._embeddings: dict[str, Vector] = {}

    def suggest(self, look: Vector, calibration: VoteCalibration) -> PredictedLabel | None:
        """Return the label with the name nearest to a photo, float32 [d]; None if it is probably wrong."""
        labels = self._known_labels()
        if len(labels) < 2:
            return None
        scores = np.stack([self._embeddings[label] for label in labels]) @ look
        (margin,) = margins_of(scores[None])
        confidence = probability(float(margin), calibration)
        if confidence < LEAST_CONFIDENCE:
            return None
        return PredictedLabel(labels[int(scores.argmax())], round(confidence, 4), 0, 0, source="words")

    def _known_labels(self) -> Sequence[str]:
        """Return the most frequent labels, whose names have been embedded."""
        if time.monotonic() - self._read_at > READ_EVERY_SECONDS:
            labels = most_frequent(self._index.labels(exact=False))
            known = self._embeddings
            self._embeddings = {
                label: known[label] if label in known else self._embed(as_words(label)) for label in labels
            }
            self._labels, self._read_at = labels, time.monotonic()
        return self._labels
