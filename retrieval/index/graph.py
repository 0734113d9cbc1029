"""Building the graph (HNSW) of an embedded index in a separate process.

Edge's `optimize` holds Python's global interpreter lock until it ends, minutes for a million points; in the process
that searches, it would block every search. The process receives the points on its standard input and writes them to a
separate shard, so that writes to the index continue from the beginning.
"""

import os
import pickle
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any, cast

import qdrant_edge as qdrant

from retrieval.cancellation import CancellationToken
from retrieval.columns.kinds import Kind
from retrieval.errors import IndexWriteFailed
from retrieval.index.shard import Batch, create_shard, vector_params, write_batch

ONE_GRAPH = qdrant.EdgeOptimizersConfig(default_segment_number=1, max_segment_size=1_000_000_000, indexing_threshold=1)
ENTRY_POINTS = 1_000
BYTES_OF_FLOAT = 4
COPIED_AT_ONCE = 1_000
INT8 = qdrant.ScalarQuantizationConfig(qdrant.ScalarType.Int8, always_ram=False)
NICENESS = 10
POLL_SECONDS = 0.1
END = None  # after the last batch


def build_graph(
    shard: Path,
    dimension: int,
    look: int,
    batches: Iterable[Batch],
    cancellation: CancellationToken,
    *,
    fields: Mapping[str, Kind],
    large: bool,
) -> bool:
    """Create a shard of points, and build its graphs; return whether that was completed and not cancelled.

    Args:
        shard: its folder, which does not exist.
        dimension: length of the vectors.
        look: length of their part look; 0 if they have one part.
        batches: the points, which are read in this process.
        fields: the fields that get payload indexes, and what they hold.
        large: whether to build it as the graph of many points; see `_config`.

    Raises:
        IndexWriteFailed: the process that builds it failed.
    """
    command = [sys.executable, "-m", __name__, str(shard), str(dimension), str(look), str(int(large))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
    with tempfile.TemporaryFile() as complaints:
        # A builder that ended breaks the pipe; its status says why.
        with suppress(BrokenPipeError), subprocess.Popen(command, stderr=complaints, **pipes) as builder:
            for message in chain([dict(fields)], batches, [END]):
                if cancellation.cancelled:
                    return False
                pickle.dump(message, cast(IO[bytes], builder.stdin))
            cast(IO[bytes], builder.stdin).flush()
            while builder.poll() is None:
                if cancellation.wait(POLL_SECONDS):
                    return False
        if builder.returncode != 0:
            complaints.seek(0)
            raise _failed(shard, builder.returncode, complaints.read().decode(errors="replace"))
    return True


def bring_up_to_date(built: qdrant.EdgeShard, original: qdrant.EdgeShard, ids: Sequence[uuid.UUID]) -> None:
    """Copy these points from the original to the built shard; remove those that the original does not have."""
    for start in range(0, len(ids), COPIED_AT_ONCE):
        some: list[int | uuid.UUID | str] = [*ids[start : start + COPIED_AT_ONCE]]
        records = original.retrieve(some, with_payload=True, with_vector=True)
        there = [qdrant.Point(record.id, cast(list[float], record.vector), record.payload) for record in records]
        built.update(qdrant.UpdateOperation.upsert_points(there))
        built.update(qdrant.UpdateOperation.delete_points(list(set(some) - {record.id for record in records})))


def main() -> None:
    """Build in a child process, which is killed when the owner of this process closes standard input or dies."""
    shard, dimension, look, large = sys.argv[1:]
    os.nice(NICENESS)
    try:
        points = _write(Path(shard), int(dimension), int(look))
    except (EOFError, pickle.UnpicklingError):
        sys.exit(1)  # the owner closed standard input before the last batch
    builder = get_context("spawn").Process(target=_build, args=(shard, int(dimension), int(look), points, large == "1"))
    builder.start()
    wait([builder.sentinel, sys.stdin.fileno()])
    builder.kill()
    builder.join()
    sys.exit(builder.exitcode)


def _write(folder: Path, dimension: int, look: int) -> int:
    """Create a shard of what is on standard input, its fields, then batches; return the number of points."""
    shard = create_shard(folder, dimension, look, pickle.load(sys.stdin.buffer))
    for batch in iter(partial(pickle.load, sys.stdin.buffer), END):
        write_batch(shard, batch, look)
    points = shard.count(qdrant.CountRequest(exact=True))
    shard.flush()
    shard.close()
    return points


def _build(shard: str, dimension: int, look: int, points: int, large: bool) -> None:
    opened = qdrant.EdgeShard.load(shard, _config(dimension, look, points, large=large))
    opened.optimize()
    opened.flush()
    opened.close()


def _config(dimension: int, look: int, points: int, *, large: bool) -> qdrant.EdgeConfig:
    """Return the settings of the graphs of a number of vectors.

    Measured on clustered vectors: with m = 16, small clusters without incoming links are missed, and additional links
    within a label (payload_m) do not improve recall. With up to 250,000 points, ef_construct = 200 takes twice the time
    of 128 and does not improve it, either. With a million points of two parts, 2 to 3 % of them were missed by a search
    for their own vector with 128, with 24 and with 32 links; so a large graph has 200. Its int8 vectors, beside the
    float32 ones, halve the time of building and searching it (200,000 points, everything else equal). For each
    `full_scan_threshold`, in kB of vectors, Edge keeps ten entry points. A search whose filter excludes the first one
    checks all of them, which took 20 ms when every one of a million points was one.
    """
    threshold = max(1, points * dimension * BYTES_OF_FLOAT * 10 // (1024 * ENTRY_POINTS))
    hnsw = qdrant.HnswIndexConfig(24, 200 if large else 128, full_scan_threshold=threshold, payload_m=0)
    vectors = vector_params(dimension, look, INT8 if large else None)
    return qdrant.EdgeConfig(vectors=vectors, hnsw_config=hnsw, optimizers=ONE_GRAPH)


def _failed(shard: Path, status: int, complaints: str) -> IndexWriteFailed:
    reason = complaints.strip().rpartition("\n")[2] or f"its process ended with status {status}"
    return IndexWriteFailed(
        f"The graph of the index {shard.parent} could not be built ({reason}).",
        "Searches are correct without it, but slower. Free memory and disk space, then run `lookalike index` again.",
    )


if __name__ == "__main__":
    main()
