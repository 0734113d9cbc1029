"""The map: the photos of an index projected to two dimensions so that similar photos are near each other.

t-SNE runs in a separate process (`indexer.low_priority`): 20,000 photos take a minute of one core.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexer.changes import photos_changed
from indexer.gallery import draw_points
from indexer.index_job import run_on_index
from indexer.jobs import IndexRequest, Job
from indexer.low_priority import compute
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError, NotFound, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import IndexStore, Point, VectorIndex
from retrieval.settings import Settings

MOST_POINTS = 20_000
COMPONENTS = 32  # of 128 and more dimensions; the distances that t-SNE works with hardly change
ITERATIONS = 500
ANGLE = 0.7

Positions = npt.NDArray[np.float32]


def run_map(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> None:
    """Compute the map of a model as a job, like `indexer.index_job.run_on_index`, and save it for `load_map`."""

    def work(index: VectorIndex, _: Bundle, cancellation: CancellationToken) -> int | None:
        total = index.count()
        points = draw_points(index, MOST_POINTS)
        positions = compute("the map", cancellation, _project, np.stack([point.vector for point in points]))
        if positions is None:
            return None
        _save(settings, index.model, total, points, positions)
        return len(points)

    run_on_index(settings, store, request, cancellation, on_progress, work)


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
    """Return the map of an index as `load_map`, with `changed`: about how many photos have changed since."""
    stored = load_map(settings, index.model)
    known = json.loads(stored)
    changed = photos_changed(settings, index, known["computed_at"], known["total"])
    return b'{"changed":%d,' % changed + stored[1:]


def _project(vectors: npt.NDArray[np.float32]) -> Positions:
    from retrieval.analysis.projection import project_2d  # noqa: PLC0415 - scikit-learn takes seconds to import

    return project_2d(vectors, components=COMPONENTS, iterations=ITERATIONS, angle=ANGLE)


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
