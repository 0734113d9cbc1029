"""Copying an index from one store to another, point for point; no photo is embedded again."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, repeat

import numpy as np

from indexer.crosscheck import CrossCheck, cross_check, save_cross_check
from indexer.exclusions import copy_exclusions
from indexer.index_columns import copy_columns
from indexer.index_ranks import renew_ranks
from indexer.model_registry import open_index
from indexer.source_record import read_records, save_records
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexMismatch
from retrieval.index import IndexStore, Point, VectorIndex
from retrieval.index_order import has_ranks
from retrieval.settings import Settings
from retrieval.wording import count_of

WRITTEN_AT_ONCE = 256
TOLERANCE = 1e-5  # by which storing a unit vector may change each of its numbers


@dataclass(frozen=True, slots=True)
class Migration:
    """The result of a migration."""

    model: str
    points: int  # the number of photos that were compared; all of them if the migration is complete
    copied: int  # how many of them were written; the rest were in the target already
    removed: int  # how many photos were removed from the target, because the source does not have them
    seconds: float  # the duration, without the cross-check
    complete: bool  # False if it was interrupted
    cross_check: CrossCheck | None  # of the target; None if it is incomplete or empty


def migrate(
    settings: Settings,
    source_store: IndexStore,
    target_store: IndexStore,
    cancellation: CancellationToken,
    on_progress: Callable[[int, int], None],
    *,
    model: str | None = None,
) -> Migration:
    """Make the index of a model in one store equal to its index in another, which stays as it is.

    Points that are equal already are not written, so an interrupted migration resumes where it ended. If the target has
    no current model, this one becomes it.

    Args:
        cancellation: stops the migration after the current batch.
        on_progress: called with the number of photos that were compared, and of all photos.
        model: the model's id; None: the current one of the source.

    Raises:
        LookalikeError: one of the stores can't be used.
        NotFound: the source has no index of the model.
        IndexMismatch: photos were indexed or removed during the migration.
    """
    bundle = bundle_in_use(settings, source_store, settings.models_folder / model if model else None)
    start = time.monotonic()
    with (
        open_index(source_store, bundle) as source,
        target_store.open(bundle.model_id, bundle.dimension, bundle.look) as target,
    ):
        target.upgrade()
        copy = _Copy(target)
        total = source.count()
        for mine, theirs in _side_by_side(source, target):
            if cancellation.cancelled:
                break
            copy.compare(mine, theirs)
            if copy.seen % WRITTEN_AT_ONCE == 0:
                on_progress(copy.seen, total)
        copy.write()
        target.flush()
        seconds = round(time.monotonic() - start, 3)
        if not cancellation.cancelled:
            _require_equal(source, target)
            target.optimize(cancellation)
            _copy_calibration(source, target)
            copy_columns(source, target)
            if has_ranks(source):
                renew_ranks(target)
            _copy_removed(source, target)
            save_records(target, read_records(source))
            copy_exclusions(source, target)
        complete = not cancellation.cancelled
        check = cross_check(target) if complete and total else None
    if check is not None:
        save_cross_check(settings, check)
        if check.passed:
            target_store.activate_first(bundle.model_id)
    return Migration(bundle.model_id, copy.seen, copy.copied, copy.removed, seconds, complete, check)


@dataclass(slots=True)
class _Copy:
    """The points that were compared, and those that have to be written to the target or removed from it."""

    target: VectorIndex
    seen: int = 0
    copied: int = 0
    removed: int = 0
    _missing: list[Point] = field(default_factory=list)
    _surplus: list[uuid.UUID] = field(default_factory=list)

    def compare(self, mine: Point | None, theirs: Point | None) -> None:
        """Compare a point of the source with the point of the target that has the same id."""
        if mine is not None:
            self.seen += 1
            if theirs is None or not _equal(mine, theirs):
                self._missing.append(mine)
        elif theirs is not None:
            self._surplus.append(theirs.id)
        if len(self._missing) + len(self._surplus) >= WRITTEN_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write the missing points, and remove the surplus ones."""
        self.target.upsert(self._missing)
        self.target.delete(self._surplus)
        self.copied += len(self._missing)
        self.removed += len(self._surplus)
        self._missing, self._surplus = [], []


def _copy_calibration(source: VectorIndex, target: VectorIndex) -> None:
    data = source.calibration()
    if data is not None and data != target.calibration():
        target.save_calibration(data)


def _copy_removed(source: VectorIndex, target: VectorIndex) -> None:
    """Copy the removed photos, so that those that a person removed stay out of the index."""
    if not source.has_removed():
        return
    copy = _Copy(target.removed())
    for mine, theirs in _side_by_side(source.removed(), target.removed()):
        copy.compare(mine, theirs)
    copy.write()
    target.removed().flush()


def _side_by_side(source: VectorIndex, target: VectorIndex) -> Iterator[tuple[Point | None, Point | None]]:
    """The points of both in the order of their ids; those with the same id are paired."""
    sides = (zip(index.scroll(), repeat(index)) for index in (source, target))
    by_id = groupby(merge(*sides, key=lambda side: side[0].id), key=lambda side: side[0].id)
    for _, same_id in by_id:
        points = {index: point for point, index in same_id}
        yield points.get(source), points.get(target)


def _equal(mine: Point, theirs: Point) -> bool:
    return mine.payload == theirs.payload and bool(np.allclose(mine.vector, theirs.vector, rtol=0, atol=TOLERANCE))


def _require_equal(source: VectorIndex, target: VectorIndex) -> None:
    if source.count() != target.count():
        raise IndexMismatch(
            f"The source holds {count_of(source.count())} and its copy {target.count()}: photos were indexed or "
            "removed during the migration.",
            "Run the same command again.",
        )
