"""Performance targets, where to find each measurement, and what limits it if the target is missed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any


@dataclass(frozen=True)
class Row:
    """One target.

    Attributes:
        what: a description.
        script: the script that measures it.
        path: the key in its result, names joined by dots.
        target: the minimum, or the maximum if `at_most`.
        limits: what was tried, and what limits the value.
    """

    what: str
    script: str
    path: str
    target: float
    limits: str
    at_most: bool = False
    unit: str = " ×"

    @property
    def bound(self) -> str:
        """The target as text."""
        return f"{'≤' if self.at_most else '≥'} {self.target:g}{self.unit}"

    def seen(self, results: Mapping[str, dict[str, Any]]) -> float | None:
        """The measured value; None if it was not measured."""
        try:
            return float(reduce(lambda part, name: part[name], self.path.split("."), results[self.script]))
        except KeyError:
            return None

    def holds(self, seen: float) -> bool:
        """Whether a value meets the target."""
        return seen <= self.target if self.at_most else seen >= self.target


EMBEDDING_LIMITS = (
    "indexing reaches the bound given by decoding and embedding (row end-to-end), and embedding alone would not be "
    "fast enough either (section pipeline): TensorFlow computes the same convolutions on the same cores. Earlier "
    "results of 68 to 73 photos/s for the baseline included up to nine seconds in which tf.data's autotuner delayed "
    "the end of a run; without the autotuner the baseline is nearly twice as fast. Tried: larger groups of photos, and "
    "threads that share a batch (section batches and threads); OpenVINO, which was slower on this machine; separate "
    "pools of decoding and embedding threads, which lose more by waiting than they gain. The remaining options are "
    "int8 or a smaller network."
)

ROWS = (
    Row(
        "indexing compared with the baseline, float32",
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
        "ONNX Runtime alone (section http rate, `onnx images per second`) is not five times as fast as the baseline, "
        "and decoding, hashing and writing take as long as with float32. The first convolutions, which have the "
        "largest feature maps, must stay float32 to preserve MAP@R (how many: section bundles). With two instead of "
        "twelve, the network was 1.3 times as fast and lost 0.009.",
    ),
    Row(
        "MAP@R lost by int8",
        "bundles",
        "map_at_r_lost",
        0.005,
        "the trainer rejects such a network; more calibration photos or more convolutions in float32 may help.",
        at_most=True,
        unit="",
    ),
    Row(
        "indexing 12-megapixel photos compared with the baseline, float32",
        "large_photos",
        "float32.ratio",
        4,
        "a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but at no less than twice the size needed for resampling, "
        "so that its neighbours do not change. Its entropy-coded data must always be decoded completely: a "
        "12-megapixel photo took 9 ms at 1/8, 13 ms at 1/4 and 65 ms at full size; the network takes the same time for "
        "any photo. Decoding at a smaller size changes results: with MobileNetV2 at 96 px and photos decoded at 1.1 "
        "to 1.7 times this size, 88 % of the ten nearest neighbours remained; saving a JPEG again at quality 90 "
        "preserves 95 %.",
    ),
    Row(
        "end-to-end ÷ bound (decoding and embedding perfectly overlapped)",
        "pipeline",
        "ratio_to_bound",
        0.9,
        "hashing the file, looking the photo up and writing it durably; processor caches, which concurrent decoding "
        "and embedding share.",
        unit="",
    ),
    Row(
        "12-megapixel HEIC: indexing ÷ bound (decoding and embedding perfectly overlapped)",
        "format_indexing",
        "heic.ratio_to_bound",
        0.9,
        "hashing the file, looking the photo up and writing it durably.",
        unit="",
    ),
    Row(
        "12-megapixel JPEG: indexing ÷ bound (decoding and embedding perfectly overlapped)",
        "format_indexing",
        "jpeg.ratio_to_bound",
        0.9,
        "hashing the file, looking the photo up and writing it durably.",
        unit="",
    ),
    Row(
        "previews of camera raw files: indexing ÷ bound (decoding and embedding perfectly overlapped)",
        "format_indexing",
        "raw_preview.ratio_to_bound",
        0.9,
        "hashing the file of 25 MB, as long as embedding the photo, by which a photo is recognized wherever it moves; "
        "with hashing as a third step of the bound, see `ratio_to_bound_with_hashing`.",
        unit="",
    ),
    Row(
        "HTTP query p50 ÷ (decoding + bare ONNX Runtime call), float32",
        "http_query",
        "float32.ratio_to_bare",
        1.3,
        "section http query lists the server's steps; the rest is reading the upload, writing the response, and two "
        "context switches between processes on the same cores.",
        at_most=True,
        unit="",
    ),
    Row(
        "HTTP query p50 with an int8 bundle compared with Keras `predict` of one image",
        "http_query",
        "int8.times_faster_than_keras",
        10,
        "our time includes decoding, searching and HTTP, Keras's does not, and int8 accelerates none of them: even if "
        "embedding took no time, the rest would remain (section http query, `server ms`).",
    ),
    Row(
        "HTTP query with a photo of 42 kB, p50 of what it takes beyond `took_ms`",
        "http_overhead",
        "overhead_p50_ms",
        1.5,
        "section http overhead has `/healthz` of the same run, which takes most of it: gunicorn, Flask, and two "
        "context switches between processes on the same cores.",
        at_most=True,
        unit=" ms",
    ),
    Row(
        "sustained HTTP queries a second ÷ bare ONNX Runtime images a second, float32",
        "http_rate",
        "float32.ratio_to_onnx",
        0.85,
        "the same cores decode, search, respond and run the clients (`processor ms per query`); with decoding alone, "
        "`bound per second` would remain. Concurrent photos are embedded with one thread each, which reduced processor "
        "time by a third; processing one more photo than there are cores changed nothing. Batching several uploads in "
        "one call gains little on a CPU, where concurrent calls are as fast (section batches and threads).",
        unit="",
    ),
    Row(
        "cold `lookalike search`",
        "cold_search",
        "lookalike_seconds.median",
        1.0,
        "imports, and opening network and index; modules that a search does not need are not imported.",
        at_most=True,
        unit=" s",
    ),
    Row(
        "the same compared with the baseline (import TensorFlow, load, predict)",
        "cold_search",
        "times_faster",
        8,
        "both times consist mostly of Python imports: TensorFlow and the Keras model in the baseline, the index and "
        "ONNX Runtime here; modules that a search does not need are not imported.",
    ),
    Row(
        "resident memory of a worker ÷ a worker with TensorFlow, shared pages counted once",
        "worker_peer",
        "memory_ratio",
        0.333,
        "a worker consists of two processes, Celery's main process and the one that computes; most of the memory is "
        "used by libraries, the network's weights, and ONNX Runtime's buffers for one group of photos per thread.",
        at_most=True,
        unit="",
    ),
    Row(
        "200 mixed requests from 8 clients: 5xx, and 409 except for a second job",
        "mixed_load",
        "refused",
        0,
        "section mixed load lists the first refused requests.",
        at_most=True,
        unit="",
    ),
    Row(
        "peak memory of a server, 8 parallel uploads of photos of 8,000 × 8,000 pixels",
        "upload_memory",
        "peak_mb",
        700,
        "one such photo with transparency has 256 MB of pixels; such photos are decoded one after another.",
        at_most=True,
        unit=" MB",
    ),
)
