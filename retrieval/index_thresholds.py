"""The thresholds of scores that apply to an index: by its size now, and the calibration of its model."""

import math
import time
from collections.abc import Callable

from retrieval.analysis.calibration import ScoreThresholds
from retrieval.bundle_format import Manifest, VoteCalibration
from retrieval.index import VectorIndex
from retrieval.parts import LOOK, Parts

READ_EVERY_SECONDS = 60
ROUNDING = 1e-6  # the cosine similarity of equal embeddings in float32 may be lower than 1 by less


class IndexThresholds:
    """The thresholds of an index.

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

    def _known(self, name: str, look: float | None, compute: Callable[[], float | None]) -> float | None:
        """Return a threshold for the present number of photos, which takes a millisecond to compute."""
        if (name, look) not in self._computed:
            self._computed[name, look] = compute()
        return self._computed[name, look]

    def _read(self) -> ScoreThresholds | None:
        """Return the thresholds; first read the number of photos and the calibration of the index if it is time to."""
        if time.monotonic() - self._read_at > READ_EVERY_SECONDS:
            self._photos = self._index.count(exact=False)
            if self._of_bundle is None:
                data = self._index.calibration()
                self._of_index = ScoreThresholds(data, self._parts) if data else None
            self._computed.clear()
            self._read_at = time.monotonic()
        return self._of_bundle or self._of_index
