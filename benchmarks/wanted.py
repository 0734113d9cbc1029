"""What is wanted of Lookalike's speed, where each figure is found, and what limits it where it is missed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        what: in words.
        script: whose result has it.
        path: where in that result, names joined by dots.
        wanted: the least, or the most where `at_most`.
        limits: what was tried, and what stands in the way.
    """

    what: str
    script: str
    path: str
    wanted: float
    limits: str
    at_most: bool = False
    unit: str = " ×"

    @property
    def bound(self) -> str:
        """What is wanted, as text."""
        return f"{'≤' if self.at_most else '≥'} {self.wanted:g}{self.unit}"

    def seen(self, results: Mapping[str, dict[str, Any]]) -> float | None:
        """The figure; None where it was not measured."""
        try:
            return float(reduce(lambda part, name: part[name], self.path.split("."), results[self.script]))
        except KeyError:
            return None

    def holds(self, seen: float) -> bool:
        """Whether it is what is wanted."""
        return seen <= self.wanted if self.at_most else seen >= self.wanted


EMBEDDING_LIMITS = (
    "indexing is at the bare limit (row end-to-end), and embedding alone, with decoding for nothing, would not be fast "
    "enough either (section pipeline): TensorFlow computes the same convolutions on the same cores. The 68 to 73 "
    "photos a second that were seen of the original's way before had up to nine seconds in them in which tf.data's "
    "tuner let a finished run wait; the peer here goes without that tuner, and is nearly twice as fast for it. Tried: "
    "larger groups of photos and threads that share a batch (section batches and threads); by hand, OpenVINO, which "
    "was slower here, and a pool of decoding threads beside an embedding one, which waits more than it gains. What is "
    "left is the network itself: int8, or a smaller one."
)

ROWS = (
    Row(
        "indexing against the original's way, float32",
        "indexing_speed",
        "float32.ratio",
        2.5,
        EMBEDDING_LIMITS,
    ),
    Row(
        "the same with an int8 bundle",
        "indexing_speed",
        "int8.ratio",
        5,
        "ONNX Runtime alone (section http rate, `onnx images per second`) is not five times as fast as the original's "
        "way, and decoding, hashing and writing take as long as with float32. The first convolutions, which have the "
        "largest maps, must stay float32 for the sake of MAP@R (how many: section bundles); with but two of them, it "
        "computed 1.3 times as fast as with twelve, and lost 0.009.",
    ),
    Row(
        "MAP@R that int8 loses",
        "bundles",
        "map_at_r_lost",
        0.005,
        "the trainer refuses such a network; more calibration photos or more convolutions in float32 may help.",
        at_most=True,
        unit="",
    ),
    Row(
        "indexing photos of 12 megapixels against the original's way, float32",
        "large_photos",
        "float32.ratio",
        4,
        "a JPEG is decoded at a half, a quarter or an eighth of its size, never below twice what is resampled, so that "
        "neighbours stay. Its entropy-coded data has to be read in full whatever is kept of it: of 12 megapixels, "
        "decoded on the machine where this was tried, an eighth took 9 ms, a quarter 13, all 65; the network takes "
        "what it takes for any photo. Decoding nearer to what is resampled is no way: with MobileNetV2 at 96 px, of "
        "photos decoded at 1.1 to 1.7 times that, 88 % of the ten nearest stayed, where saving a JPEG once more at "
        "quality 90 leaves 95 %.",
    ),
    Row(
        "end-to-end ÷ bare limit (decoding and embedding perfectly overlapped)",
        "pipeline",
        "ratio_to_bound",
        0.9,
        "what is neither decoding nor embedding: hashing the file, looking the photo up, and writing it durably; the "
        "processor's caches, which decoding and embedding share when they run side by side.",
        unit="",
    ),
    Row(
        "HTTP query p50 ÷ (decoding + bare ONNX Runtime call), float32",
        "http_query",
        "float32.ratio_to_bare",
        1.3,
        "the server's own steps are in section http query; what is beside them is reading the upload, the answer, and "
        "two changes between processes on the same cores.",
        at_most=True,
        unit="",
    ),
    Row(
        "HTTP query p50 with an int8 bundle against Keras `predict` of one image",
        "http_query",
        "int8.times_faster_than_keras",
        10,
        "decoding, searching and HTTP are in our time and not in Keras's, and int8 makes none of them faster: even if "
        "embedding took no time, a query would take what is left (section http query, `server ms`).",
    ),
    Row(
        "sustained HTTP queries a second ÷ bare ONNX Runtime images a second, float32",
        "http_rate",
        "float32.ratio_to_onnx",
        0.85,
        "the same cores decode, search, answer and run the clients (`processor ms per query`); if decoding were all of "
        "it, `bound per second` would be left. A photo that is not alone is embedded by one thread, which took a third "
        "off the processor time; one more photo in hand than there are cores changed nothing. Several uploads batched "
        "in one call gain little on a CPU, where calls side by side are as fast (section batches and threads).",
        unit="",
    ),
    Row(
        "cold `lookalike search`",
        "cold_search",
        "lookalike_seconds.median",
        1.0,
        "imports and opening network and index; what is not needed for a search is not imported.",
        at_most=True,
        unit=" s",
    ),
    Row(
        "the same against the original's way (import TensorFlow, load, predict)",
        "cold_search",
        "times_faster",
        8,
        "both sides are imports of Python in the main, TensorFlow and Keras's model there, the index and ONNX Runtime "
        "here; what is not needed for a search is not imported.",
    ),
    Row(
        "resident memory of a worker ÷ one with TensorFlow, pages that its two processes share counted once",
        "worker_peer",
        "memory_ratio",
        0.333,
        "a worker is two processes, Celery's own and the one that computes; libraries, the network's weights and ONNX "
        "Runtime's memory for one group of photos a thread make most of it.",
        at_most=True,
        unit="",
    ),
)
