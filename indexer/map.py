"""The map: the photos of an index projected to two dimensions so that similar photos are near each other.

t-SNE runs in a separate process at the lowest priority: 20,000 photos take a minute of one core. Cancelling the job
kills that process.
"""

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexer.batch import BatchResult
from indexer.gallery import draw_points
from indexer.jobs import IndexRequest, Job, JobRecord, list_jobs, run_recorded
from indexer.model_registry import open_index
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.errors import LookalikeError, NotFound, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import IndexStore, Point, VectorIndex
from retrieval.settings import Settings

MOST_POINTS = 20_000
COMPONENTS = 32  # of 128 and more dimensions; the distances that t-SNE works with hardly change
ITERATIONS = 500
ANGLE = 0.7
POLL_SECONDS = 0.5
MOST_JOBS = 100  # that are read to count the changes since the map was computed

Positions = npt.NDArray[np.float32]


def run_map(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> None:
    """Compute the map of a model as a job, like `indexer.runner.run_job`, and save it for `load_map`.

    Raises:
        NotFound: the model has no index, or an empty one.
        LookalikeError: the job failed; its record has the reason.
    """
    bundle = bundle_in_use(settings, store, request.bundle)
    with open_index(store, bundle) as index:

        def compute(record: JobRecord) -> bool:
            return _compute(settings, index, record, record.cancellation(cancellation))

        run_recorded(settings, request, bundle.model_id, on_progress, compute)


def load_map(settings: Settings, model: str) -> bytes:
    """Return the map of a model, as JSON; raises `NotFound` if it has not been computed.

    Returns:
        `model`, `computed_at`, `total` (photos in the index), `labels` and `points`: columns `id`, `x`, `y` (0 to 1)
        and `label` (position in `labels`, or null).
    """
    try:
        return _file(settings, model).read_bytes()
    except OSError:
        raise NotFound(
            f"The map of {model} has not been computed yet.", 'Start a job of the kind "map", and wait for its end.'
        ) from None


def load_map_and_changes(settings: Settings, index: VectorIndex) -> bytes:
    """Return the map of an index as `load_map`, with `changed`: about how many photos have changed since.

    These are the photos that later jobs have indexed or removed; if the number of photos differs by more than that,
    because others were added or removed over HTTP, it is the difference.
    """
    stored = load_map(settings, index.model)
    known = json.loads(stored)
    computed_at = datetime.fromisoformat(known["computed_at"])
    jobs = [job for job in list_jobs(settings, limit=MOST_JOBS) if job.model == index.model]
    by_jobs = sum(job.indexed + job.removed for job in jobs if _end(job) > computed_at)
    changed = max(by_jobs, abs(index.count(exact=False) - known["total"]))
    return b'{"changed":%d,' % changed + stored[1:]


def _end(job: Job) -> datetime:
    return datetime.fromisoformat(job.started_at) + timedelta(seconds=job.seconds)


def _compute(settings: Settings, index: VectorIndex, record: JobRecord, cancellation: CancellationToken) -> bool:
    """Compute the map and save it; return whether that was completed."""
    total = index.count()
    points = draw_points(index, MOST_POINTS)
    positions = _project_in_process(np.stack([point.vector for point in points]), cancellation)
    if positions is None:
        return False
    _save(settings, index.model, total, points, positions)
    record.count(BatchResult(seen=len(points)))
    return True


def _project_in_process(vectors: npt.NDArray[np.float32], cancellation: CancellationToken) -> Positions | None:
    """Compute the positions in a process of lowest priority; None if cancelled."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, vectors), daemon=True)
    process.start()
    theirs.close()
    try:
        while not ours.poll(POLL_SECONDS):
            if cancellation.cancelled:
                return None
        positions: Positions = ours.recv()
    except EOFError:
        raise LookalikeError("The process that computes the map was killed, most likely for lack of memory.") from None
    else:
        return positions
    finally:
        process.kill()
        process.join()


def _work(results: "Connection[Positions, Any]", vectors: npt.NDArray[np.float32]) -> None:
    from retrieval.analysis.projection import project_2d  # noqa: PLC0415 - scikit-learn takes seconds to import

    os.nice(19)
    results.send(project_2d(vectors, components=COMPONENTS, iterations=ITERATIONS, angle=ANGLE))


def _save(settings: Settings, model: str, total: int, points: Sequence[Point], positions: Positions) -> None:
    names = [point.payload.label for point in points]
    labels = sorted({name for name in names if name is not None})
    place = {name: position for position, name in enumerate(labels)}
    content = {
        "model": model,
        "computed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "total": total,
        "labels": labels,
        "points": {
            "id": [str(point.id) for point in points],
            "x": [round(float(x), 4) for x in positions[:, 0]],
            "y": [round(float(y), 4) for y in positions[:, 1]],
            "label": [None if name is None else place[name] for name in names],
        },
    }
    path = _file(settings, model)
    with os_errors_as(LookalikeError, f"{path} can't be written", "Free disk space."):
        write_atomically(path, json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def _file(settings: Settings, model: str) -> Path:
    return settings.home / "maps" / f"{model}.json"
