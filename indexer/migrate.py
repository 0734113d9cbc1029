"""An index brought from this machine to a Qdrant server or back, point for point; nothing is embedded again."""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from indexer.crosscheck import CrossCheck, cross_check, save_cross_check
from indexer.model_registry import open_index
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexMismatch, LookalikeError
from retrieval.index import IndexStore, Point, VectorIndex, open_store
from retrieval.settings import Settings

WRITTEN_AT_ONCE = 256
SAME_NUMBER = 1e-5  # what storing a unit vector may change in each of its numbers


class Place(StrEnum):
    """Where an index can be."""

    SERVER = "server"
    EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did.

    Args:
        model: the model whose index it was.
        to: the place that holds it now, too.
        points: how many photos were seen; all of them, where it is complete.
        copied: how many of them were written; the others were there already.
        removed: how many photos were at that place only, and are gone.
        seconds: how long it took, without the cross-check.
        complete: whether it came to its end.
        cross_check: that of the index at its new place; None where it is not complete or empty.
    """

    model: str
    to: Place
    points: int
    copied: int
    removed: int
    seconds: float
    complete: bool
    cross_check: CrossCheck | None


def migrate(
    settings: Settings,
    to: Place,
    model: str | None,
    cancellation: CancellationToken,
    on_progress: Callable[[int, int], None],
) -> Migration:
    """Make the index of a model at one place equal to that at the other, which is kept.

    What is there already is not written again; so a migration that was interrupted goes on where it was. The model
    serves at the new place where none does.

    Args:
        settings: name the server and the folder.
        to: the place that shall hold the index.
        model: the model's id; None: the one that serves at the other place.
        cancellation: stops the migration after the current batch.
        on_progress: called with how many photos were seen, and how many there are.

    Raises:
        LookalikeError: no server is named, or one of the places can't be used.
        NotFound: there is no index of the model.
        IndexMismatch: photos were indexed or removed meanwhile.
    """
    source_store, target_store = _stores(settings, to)
    bundle = bundle_in_use(settings, source_store, settings.models_folder / model if model else None)
    start = time.monotonic()
    with (
        open_index(source_store, bundle) as source,
        target_store.open(bundle.model_id, bundle.dimension) as target,
    ):
        copy = _Copy(target)
        total = source.count()
        for mine, theirs in _side_by_side(source, target):
            if cancellation.cancelled:
                break
            copy.compare(mine, theirs)
            if copy.seen % WRITTEN_AT_ONCE == 0:
                on_progress(copy.seen, total)
        copy.write()
        seconds = round(time.monotonic() - start, 3)
        if not cancellation.cancelled:
            _require_equal(source, target)
            target.optimize(cancellation)
        complete = not cancellation.cancelled
        check = cross_check(target) if complete and total else None
    if check is not None:
        save_cross_check(settings, check)
        if check.passed and target_store.current() is None:
            target_store.activate(bundle.model_id)
    return Migration(bundle.model_id, to, copy.seen, copy.copied, copy.removed, seconds, complete, check)


@dataclass(slots=True)
class _Copy:
    """What was compared so far, and what is to be written to the target."""

    target: VectorIndex
    seen: int = 0
    copied: int = 0
    removed: int = 0
    _missing: list[Point] = field(default_factory=list)
    _surplus: list[uuid.UUID] = field(default_factory=list)

    def compare(self, mine: Point | None, theirs: Point | None) -> None:
        """Take note of a point of the source and that of the target with the same id."""
        if mine is not None:
            self.seen += 1
            if theirs is None or not _equal(mine, theirs):
                self._missing.append(mine)
        elif theirs is not None:
            self._surplus.append(theirs.id)
        if len(self._missing) + len(self._surplus) >= WRITTEN_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write what was noted."""
        self.target.upsert(self._missing)
        self.target.delete(self._surplus)
        self.copied += len(self._missing)
        self.removed += len(self._surplus)
        self._missing, self._surplus = [], []


def _stores(settings: Settings, to: Place) -> tuple[IndexStore, IndexStore]:
    """The store to read from, and the one to write to."""
    if settings.qdrant_url is None:
        raise LookalikeError("No Qdrant server is named.", "Set LOOKALIKE_QDRANT_URL, http://127.0.0.1:6333 perhaps.")
    server, embedded = open_store(settings), open_store(settings.model_copy(update={"qdrant_url": None}))
    return (embedded, server) if to is Place.SERVER else (server, embedded)


def _side_by_side(source: VectorIndex, target: VectorIndex) -> Iterator[tuple[Point | None, Point | None]]:
    """The points of both in the order of their ids, those with the same id together."""
    ours, others = source.scroll(), target.scroll()
    mine, theirs = next(ours, None), next(others, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine.id < theirs.id):
            yield mine, None
            mine = next(ours, None)
        elif mine is None or theirs.id < mine.id:
            yield None, theirs
            theirs = next(others, None)
        else:
            yield mine, theirs
            mine, theirs = next(ours, None), next(others, None)


def _equal(mine: Point, theirs: Point) -> bool:
    return mine.payload == theirs.payload and bool(np.allclose(mine.vector, theirs.vector, rtol=0, atol=SAME_NUMBER))


def _require_equal(source: VectorIndex, target: VectorIndex) -> None:
    if source.count() != target.count():
        raise IndexMismatch(
            f"The source holds {source.count()} photos, and the index made from it {target.count()}: photos were "
            "indexed or removed meanwhile.",
            "Run the same command again.",
        )
