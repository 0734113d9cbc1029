"""The thresholds of scores that apply to an index: by its size now, and the calibration of its model."""

import math
import time
from collections.abc import Callable

from retrieval.analysis.calibration import ScoreThresholds, thresholds_of_words
from retrieval.bundle_format import TEXT_NETWORK, Manifest, VoteCalibration, WordCalibration
from retrieval.index import VectorIndex
from retrieval.parts import LOOK, Parts

READ_EVERY_SECONDS = 60
ROUNDING = 1e-6  # the cosine similarity of equal embeddings in float32 may be lower than 1 by less


class IndexThresholds:
    """The thresholds of an index, for scores of two photos and of words and a photo.

    They follow from the calibration of the bundle, or from that which was saved with the index, and from the number of
    photos, which is read once a minute at most. All are None if neither is there; a bundle of format 1 has only the
    threshold of a close match at its default weights.
    """

    def __init__(self, manifest: Manifest, index: VectorIndex) -> None:
        self._manifest, self._index = manifest, index
        self._parts = Parts(manifest.parts)
        data = manifest.calibration_data
        self._of_bundle = ScoreThresholds(data, self._parts) if data else None
        self._of_index: ScoreThresholds | None = None
        self._words: WordCalibration | None = None
        self._photos = 0
        self._read_at = -math.inf
        self._computed: dict[tuple[str, float | None], float | None] = {}

    def close_match(self, look: float | None = None) -> float | None:
        """Return the score above which the nearest photo probably shows the query's kind; see `ScoreThresholds`."""
        thresholds = self._read()
        if thresholds is None:
            calibration = self._manifest.calibration
            return calibration.close_match if calibration else None
        return self._known("close match", look, lambda: thresholds.close_match(self._photos, look))

    def possible_match(self, look: float | None = None) -> float | None:
        """Return the score below which a photo rarely shows the query's kind; see `ScoreThresholds`."""
        thresholds = self._read()
        if thresholds is None:
            return None
        return self._known("possible match", look, lambda: thresholds.possible_match(self._photos, look))

    def duplicates(self) -> float | None:
        """Return the similarity of look above which photos are near-identical; None without a part look."""
        thresholds = self._read()
        if thresholds is None or not self._parts.has(LOOK):
            return None
        return self._known("duplicates", None, lambda: min(thresholds.duplicates(self._photos), 1 - ROUNDING))

    def vote(self) -> VoteCalibration | None:
        """Return how the nearest photos' vote on a label is calibrated; None if it is not."""
        thresholds = self._read()
        return None if thresholds is None else thresholds.vote

    def word_match(self) -> float | None:
        """Return the score above which the nearest photo probably shows what words say; None if not calibrated."""
        words = self._read_words()
        if words is None:
            return None
        thresholds = thresholds_of_words(words, self._parts)
        return self._known("word match", None, lambda: thresholds.close_match(self._photos))

    def possible_word_match(self) -> float | None:
        """Return the score below which a photo rarely shows what words say; None if labels don't tell."""
        words = self._read_words()
        if words is None:
            return None
        thresholds = thresholds_of_words(words, self._parts)
        return self._known("possible word match", None, lambda: thresholds.possible_match(self._photos))

    def label_words(self) -> VoteCalibration | None:
        """Return how the nearest name of a label is calibrated; None if it is not, or if names are no words."""
        words = self._read_words()
        return None if words is None else words.label

    def _known(self, name: str, look: float | None, compute: Callable[[], float | None]) -> float | None:
        """Return a threshold for the present number of photos, which takes a millisecond to compute."""
        if (name, look) not in self._computed:
            self._computed[name, look] = compute()
        return self._computed[name, look]

    def _read(self) -> ScoreThresholds | None:
        """Return the thresholds of photos; first read what they follow from if it is time to."""
        self._read_again()
        return self._of_bundle or self._of_index

    def _read_words(self) -> WordCalibration | None:
        """Return the calibration of words; first read it if it is time to."""
        self._read_again()
        return self._words

    def _read_again(self) -> None:
        """Read the number of photos and the calibration of the index, unless they were read less than a minute ago."""
        if time.monotonic() - self._read_at <= READ_EVERY_SECONDS:
            return
        self._photos = self._index.count(exact=False)
        if self._of_bundle is None or TEXT_NETWORK in self._manifest.files:
            data = self._index.calibration()
            self._of_index = ScoreThresholds(data, self._parts) if data else None
            self._words = data.words if data else None
        self._computed.clear()
        self._read_at = time.monotonic()
