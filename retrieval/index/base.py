"""The interface of the vector index, which every engine implements."""

import threading
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from retrieval.cancellation import CancellationToken
from retrieval.closing import Closing
from retrieval.columns.kinds import Kind
from retrieval.errors import IndexMismatch, IndexUnreadable, NotFound
from retrieval.index.conditions import Field
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.payload import INDEXED_FIELDS, Payload
from retrieval.photo_ref import Extra, photo_id

if TYPE_CHECKING:
    from retrieval.bundle_format import CalibrationData
    from retrieval.index.vectors import Vector  # NumPy is not imported before a server forks its workers

CALIBRATION = "calibration"
MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Point:
    """An indexed photo: id, embedding float32 [d] of unit length, payload.

    The id is the UUIDv5 of the URI under which the photo was indexed first; of `URI#sha256` if another photo had it.
    """

    id: uuid.UUID
    vector: "Vector"
    payload: Payload


@dataclass(frozen=True, slots=True)
class StoredPoints:
    """Some points as the index stores them: ids, embeddings float32 [points, d], and payloads as JSON types."""

    ids: list[uuid.UUID]
    vectors: "Vector"
    payloads: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result: the cosine similarity to the query, in [−1, 1]."""

    id: uuid.UUID
    score: float
    payload: Payload


@dataclass(frozen=True, slots=True)
class IndexedPhoto:
    """The id and payload of an indexed photo."""

    id: uuid.UUID
    payload: Payload


class VectorIndex(Closing):
    """The indexed photos of one model; opened by an `IndexStore`.

    Every implementation passes `tests/contract`. When a write returns, it survives a killed process; after `flush`, it
    survives a power failure. Implementations are thread-safe.
    """

    def __init__(self, store: "IndexStore", model: str, dimension: int, look: int = 0) -> None:
        self.model = model
        self.dimension = dimension
        self.look = look  # length of the part look, which has a separate graph; 0 if it has none
        self.users = 0  # counted by the store: those that opened the index and have not closed it
        self._store = store

    @abstractmethod
    def upsert(self, points: Sequence[Point]) -> None:
        """Add points, replacing those with the same ids.

        Raises:
            IndexWriteFailed: the engine refused; earlier points are kept.
        """

    @abstractmethod
    def replace_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """Replace the payloads of points; their vectors and the graph stay as they are. Unknown ids are ignored.

        Raises:
            IndexWriteFailed: the engine refused.
        """

    @abstractmethod
    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Remove points; unknown ids are ignored."""

    @abstractmethod
    def flush(self) -> None:
        """Make what was written survive a power failure; called before a write is acknowledged.

        Raises:
            IndexWriteFailed: the disk can't be written.
        """

    @abstractmethod
    def search(
        self, vector: "Vector", k: int, filter: Filter = NO_FILTER, *, exact: bool = False, by_look: bool = False
    ) -> list[Hit]:
        """Return the k nearest points, highest score first.

        Args:
            vector: float32 [d]; need not have unit length.
            exact: compare with every point instead of using the graph.
            by_look: take candidates from the graph of the part look, too: for queries that give this part more weight
                than the stored vectors do, and for which the graph of the whole vectors misses neighbours.

        Raises:
            BadQuery: the vector has another length, or holds no finite direction.
        """

    @abstractmethod
    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """Return the payloads of those ids that are indexed."""

    def named(self, uris: Sequence[str]) -> dict[str, IndexedPhoto]:
        """Return the photos that have these URIs, as `uri` or among `also_at`, by URI.

        An id alone does not tell: a photo that moved keeps its id, and another photo may be in its former place.
        """
        by_id = {photo_id(uri): uri for uri in uris}
        found = self.get([*by_id])
        named = {uri: IndexedPhoto(id, found[id]) for id, uri in by_id.items() if id in found and found[id].uri == uri}
        rest = [uri for uri in uris if uri not in named]
        return named | (self._otherwise_named(rest) if rest else {})

    @abstractmethod
    def _otherwise_named(self, uris: Sequence[str]) -> dict[str, IndexedPhoto]:
        """Return the photos that have these URIs, and ids that do not follow from them."""

    @abstractmethod
    def with_content(self, sha256s: Sequence[str]) -> dict[uuid.UUID, Payload]:
        """Return the points of photos with these contents; at most `MOST_COPIES` for each content."""

    @abstractmethod
    def vectors(self, ids: Sequence[uuid.UUID]) -> "dict[uuid.UUID, Vector]":
        """Return the unit vectors of those ids that are indexed."""

    @abstractmethod
    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """Yield every point in the order of the ids, read in batches."""

    @abstractmethod
    def scroll_stored(self, batch: int = 1000) -> "Iterator[StoredPoints]":
        """Yield every point in the order of the ids, in batches, as the index stores them: without objects for each."""

    @abstractmethod
    def scroll_payloads(
        self, batch: int = 1000, filter: Filter = NO_FILTER, start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        """Yield the id and payload of every point in the order of the ids, read in batches, without vectors.

        Args:
            batch: how many are read at once.
            filter: only points that it matches.
            start: the first id; None: that of the first point.
        """

    @abstractmethod
    def scroll_extra(self, batch: int = 1000) -> Iterator[Extra]:
        """Yield the columns of manifests that each point has; this takes a third of the time of `scroll_payloads`."""

    @abstractmethod
    def ordered(
        self, field: Field, count: int, filter: Filter = NO_FILTER, *, descending: bool = False
    ) -> dict[uuid.UUID, Payload]:
        """Return the first points in the order of a number or date, of those that have one and match a filter.

        Call it for many points: it needs a payload index.
        """

    @abstractmethod
    def scroll_vectors(self, batch: int = 1000) -> "Iterator[tuple[list[uuid.UUID], Vector]]":
        """Yield the ids and vectors of every point in the order of the ids, in batches, float32 [batch, d]."""

    @abstractmethod
    def sample(self, count: int, *, labelled: bool = False) -> dict[uuid.UUID, Payload]:
        """Return the payloads of at most `count` points, drawn at random without reading the others.

        Args:
            labelled: draw only points that have a label.
        """

    @abstractmethod
    def count(self, *, exact: bool = True) -> int:
        """Return the number of points.

        Args:
            exact: count them, which takes a server 80 ms for a million points; otherwise about 1 ms, for display.
        """

    @abstractmethod
    def matching(self, filter: Filter, *, exact: bool = False) -> int:
        """Return how many points a filter matches.

        Args:
            exact: count them; otherwise about how many, which takes less time.
        """

    @abstractmethod
    def labels(self, *, exact: bool = True) -> dict[str, int]:
        """Return the labels with the number of points of each, the most frequent first, then by name.

        Args:
            exact: as for `count`.
        """

    @abstractmethod
    def counts(self, field: Field, most: int) -> dict[str, int]:
        """Return the values of a field of texts with the number of points of each, for display.

        Args:
            most: how many values; the most frequent ones are returned.
        """

    @abstractmethod
    def optimize(self, cancellation: CancellationToken | None = None) -> bool:
        """Build what keeps searches fast, if the index has outgrown what it has; return whether anything was built.

        Call it after many writes. It returns when that is built: after minutes for a million points, during which
        searches and writes continue. If it is cancelled, or raises `IndexWriteFailed`, the index stays as it is.
        """

    @abstractmethod
    def has_removed(self) -> bool:
        """Whether there is an index of removed points."""

    @abstractmethod
    def removed(self) -> "VectorIndex":
        """Return the index of removed points, which is created by the first call and closed with this index.

        Its points count in no search, number or list of this one.
        """

    def calibration(self) -> "CalibrationData | None":
        """Return the calibration that was saved with the index; None if there is none, or it can't be understood."""
        from retrieval.bundle_format import CalibrationData  # noqa: PLC0415 - NumPy, see above

        with suppress(ValidationError):
            return CalibrationData.model_validate_json(self.note(CALIBRATION) or "")
        return None

    def save_calibration(self, data: "CalibrationData") -> None:
        """Save the calibration of a model whose bundle has none, for all who open the index; it replaces another one.

        Raises:
            IndexWriteFailed: the engine refused.
        """
        self.save_note(CALIBRATION, data.model_dump_json())

    @abstractmethod
    def note(self, name: str) -> str | None:
        """Return a text that was saved with the index; None if there is none of this name."""

    @abstractmethod
    def save_note(self, name: str, text: str) -> None:
        """Save a text with the index, for all who open it; it replaces another one of the same name.

        Raises:
            IndexWriteFailed: the engine refused.
        """

    @abstractmethod
    def index_fields(self, fields: Mapping[str, Kind]) -> None:
        """Create the payload indexes of fields, by their names and what they hold, where they are missing.

        Raises:
            IndexWriteFailed: the engine refused.
        """

    def upgrade(self) -> None:
        """Bring an existing index up to date with the settings and this version; called when a job starts."""
        self.index_fields(INDEXED_FIELDS)

    def slowed_by(self) -> str | None:
        """Return what has slowed the index down since the last call, as a sentence for the progress of a job."""
        return None

    def search_time_limit(self) -> AbstractContextManager[None]:
        """Return a context in which the requests of one search take at most as long as the settings say together."""
        return nullcontext()

    def save_count(self) -> None:
        """Save the number of points for `IndexStore.count` in other processes; called at the end of each job."""

    def advice(self) -> str | None:
        """Return a sentence on what would serve this many photos better, or None."""
        return None

    def close(self) -> None:
        """Release the index. After its last user, it is flushed and freed, and can be opened again."""
        self._store.release(self)

    @abstractmethod
    def free(self) -> None:
        """Flush the index and free its resources; called by the store when the index has no user."""


class IndexStore(Closing):
    """The indexes of one place, one for each model, and which model is the current one.

    A process has one store: its searches, jobs and activations share the indexes that it opens.
    """

    allows_many_processes: ClassVar[bool]  # whether several processes may open an index at the same time
    location: str  # the place, as part of a sentence
    address: str | None = None  # the URL of the server in this process; None if it is no server

    def __init__(self) -> None:
        self._indexes: dict[str, VectorIndex] = {}
        self._locks: dict[str, threading.Lock] = {}  # one for each model, held while its index is opened or freed

    def open(self, model: str, dimension: int, look: int = 0) -> VectorIndex:
        """Return the index of a model, which is created if there is none and shared by all who open it.

        Every call needs one `VectorIndex.close`.

        Args:
            model: the id of the model.
            dimension: length of the vectors.
            look: length of the part look at the end of each vector, for which a new index builds a second graph; 0 if
                the vectors have one part.

        Raises:
            IndexBusy: another process holds it.
            IndexMismatch: it holds vectors of another dimension.
        """
        with self._lock(model):
            index = self._indexes.get(model) or self._open(model, dimension, look)
            if index.dimension != dimension:
                if not index.users:
                    index.free()
                raise IndexMismatch(
                    f"The index of {model} holds vectors of {index.dimension} numbers; the model makes {dimension}.",
                    "Index the photos again with this model, or use the bundle that the index was made with.",
                )
            self._indexes[model] = index
            index.users += 1
            return index

    def release(self, index: VectorIndex) -> None:
        """Count one user of an index less, and free the index after its last."""
        with self._lock(index.model):
            index.users -= 1
            if index.users <= 0:
                if self._indexes.get(index.model) is index:
                    del self._indexes[index.model]
                index.free()

    def close(self) -> None:
        """Free every index that is still open."""
        for model in list(self._indexes):
            with self._lock(model):
                if index := self._indexes.pop(model, None):
                    index.free()

    def activate(self, model: str) -> None:
        """Make a model the current one, and the one that it replaces the previous one, in one step.

        If several processes activate models at the same time, they do so in some order. Raises `NotFound` if the model
        has no index.
        """
        if model not in self.models():
            raise no_index(model)
        while (current := self.current()) != model:
            if self._replace_current(current, model):
                return

    def activate_first(self, model: str) -> str:
        """Make a model that has an index the current one if there is none; return the current model."""
        while (current := self.current()) is None:
            self._replace_current(None, model)
        return current

    def remove(self, model: str) -> None:
        """Delete a model's index and free its space.

        Raises:
            NotFound: it has no index.
            IndexMismatch: it is the current one.
            IndexBusy: another process holds it.
        """
        if model not in self.models():
            raise no_index(model)
        if model == self.current():
            raise IndexMismatch(f"{model} is the current model.", "Activate another one first.")
        self._remove(model)

    @abstractmethod
    def models(self) -> list[str]:
        """Return the models that have an index, sorted by name."""

    @abstractmethod
    def current(self) -> str | None:
        """Return the current model, or None."""

    @abstractmethod
    def previous(self) -> str | None:
        """Return the model that was the current one before, or None."""

    def count(self, model: str) -> int | None:
        """Return the number of points of a model without opening its index; None if it is unknown.

        It is exact if this process has the index open, and may lag behind another process that writes.
        """
        index = self._indexes.get(model)
        with suppress(IndexUnreadable):  # closed meanwhile
            if index is not None:
                return index.count(exact=False)
        return self._saved_count(model)

    def note(self, model: str, name: str) -> str | None:
        """Return a text that was saved with a model's index, without opening that; None if there is none."""
        index = self._indexes.get(model)
        return self._saved_note(model, name) if index is None else index.note(name)

    @abstractmethod
    def _saved_note(self, model: str, name: str) -> str | None:
        """Return a text that was saved with an index that this store does not have open."""

    @abstractmethod
    def _saved_count(self, model: str) -> int | None:
        """Return the number of points of an index that this store does not have open."""

    @abstractmethod
    def _open(self, model: str, dimension: int, look: int) -> VectorIndex:
        """Open an index that this store does not have open; one that exists may have other lengths."""

    @abstractmethod
    def _replace_current(self, expected: str | None, model: str) -> bool:
        """Make a model that has an index the current one if `expected` is the current one; return whether it was."""

    @abstractmethod
    def _remove(self, model: str) -> None:
        """Delete an index."""

    def advice(self) -> str | None:
        """Return a sentence on what may be wrong with the place of the indexes, or None."""
        return None

    def _lock(self, model: str) -> threading.Lock:
        return self._locks.setdefault(model, threading.Lock())


def no_index(model: str) -> NotFound:
    """Return the error for a model that has no index."""
    return NotFound(f"There is no index of the model {model}.", "`lookalike models list` shows all models.")
