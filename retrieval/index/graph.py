"""The graph (HNSW) of an embedded index, built in a process of its own.

Edge's `optimize` holds Python's global lock until it is done, minutes for a million points; in the process that
searches, nothing else would happen meanwhile.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import cast

from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    HnswIndexConfig,
    Point,
    UpdateOperation,
)

from retrieval.errors import IndexWriteFailed

# Measured on clustered vectors: m = 16 misses small clusters that nothing links to, ef_construct = 200 takes twice the
# time for no better recall. Links that know labels (payload_m) are no use: see `VectorIndex.search`.
HNSW = HnswIndexConfig(m=24, ef_construct=128, full_scan_threshold=1, payload_m=0)
ONE_GRAPH = EdgeOptimizersConfig(default_segment_number=1, max_segment_size=1_000_000_000, indexing_threshold=1)
COPIED_AT_ONCE = 1_000
NICENESS = 10
POLL_SECONDS = 0.1


def build_graph(shard: Path, dimension: int, give_up: Callable[[], bool]) -> bool:
    """Build the graph of a shard that nobody has open.

    Args:
        shard: its folder.
        dimension: the length of its vectors.
        give_up: asked again and again; once it is true, the shard is of no use any more.

    Returns:
        whether the graph is built; False where it was given up.

    Raises:
        IndexWriteFailed: the process that builds it failed.
    """
    command = [sys.executable, "-m", __name__, str(shard), str(dimension)]
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=complaints, start_new_session=True) as builder:
            while builder.poll() is None:
                if give_up():
                    return False
                time.sleep(POLL_SECONDS)
        if builder.returncode != 0:
            complaints.seek(0)
            raise _failed(shard, builder.returncode, complaints.read().decode(errors="replace"))
    return True


def bring_up_to_date(built: EdgeShard, original: EdgeShard, ids: Sequence[uuid.UUID]) -> None:
    """Give a built shard what the original holds of these points, or no longer holds."""
    for start in range(0, len(ids), COPIED_AT_ONCE):
        some: list[int | uuid.UUID | str] = [*ids[start : start + COPIED_AT_ONCE]]
        records = original.retrieve(some, with_payload=True, with_vector=True)
        there = [Point(record.id, cast(list[float], record.vector), record.payload) for record in records]
        built.update(UpdateOperation.upsert_points(there))
        built.update(UpdateOperation.delete_points(list(set(some) - {record.id for record in records})))


def main() -> None:
    """Build in a process below this one, which ends it when its owner closes standard input or dies."""
    shard, dimension = sys.argv[1:]
    os.nice(NICENESS)
    builder = get_context("spawn").Process(target=_build, args=(shard, int(dimension)))
    builder.start()
    wait([builder.sentinel, sys.stdin.fileno()])
    builder.kill()
    builder.join()
    sys.exit(builder.exitcode)


def _build(shard: str, dimension: int) -> None:
    vectors = EdgeVectorParams(size=dimension, distance=Distance.Cosine)
    opened = EdgeShard.load(shard, EdgeConfig(vectors=vectors, hnsw_config=HNSW, optimizers=ONE_GRAPH))
    opened.optimize()
    opened.flush()
    opened.close()


def _failed(shard: Path, status: int, complaints: str) -> IndexWriteFailed:
    reason = complaints.strip().rpartition("\n")[2] or f"its process ended with status {status}"
    return IndexWriteFailed(
        f"The graph of the index {shard.parent} could not be built ({reason}).",
        "Searches are right without it, and slower. Make room in memory and on disk, then run `lookalike index` again.",
    )


if __name__ == "__main__":
    main()
