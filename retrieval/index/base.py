"""The vector index as the other rooms see it, whichever engine holds it."""

import threading
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from retrieval.closing import Closing
from retrieval.errors import BadQuery, IndexMismatch, IndexUnreadable, NotFound

Vector = npt.NDArray[np.float32]

# A search within labels looks at four times k points of the graph at first, and at four times as many as before where
# too few of them carry a label: reading payloads is what takes long.
LOOK = 4


@dataclass(frozen=True, slots=True)
class Payload:
    """What the index keeps of a photo beside its vector; times are ISO 8601 in UTC.

    `etag` is what the photo's store says of its version, where it says so; `extra` is what a manifest says of the photo
    beside its label.
    """

    uri: str
    label: str | None
    sha256: str
    width: int
    height: int
    bytes: int
    modified_at: str
    indexed_at: str
    etag: str | None = None
    extra: dict[str, str | int | float | bool] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The payload as JSON types; what a photo does not have (label, etag, extra) has no key."""
        return {key: value for key, value in asdict(self).items() if value is not None and value != {}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Payload":
        """The payload of a stored point; raises `IndexUnreadable` where it is damaged."""
        try:
            return cls(**{"label": None, **(values or {})})
        except TypeError as error:
            raise IndexUnreadable(
                f"The index holds a photo whose payload is damaged ({error}).",
                "Remove this index with `lookalike models remove`, and index the photos again.",
            ) from None


@dataclass(frozen=True, slots=True)
class Point:
    """An indexed photo: id (UUIDv5 of its URI), embedding float32 [d] of unit length, payload."""

    id: uuid.UUID
    vector: Vector
    payload: Payload


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result: the cosine similarity to the query, in [−1, 1]."""

    id: uuid.UUID
    score: float
    payload: Payload


class VectorIndex(Closing):
    """The indexed photos of one model.

    Every implementation passes `tests/contract`. Writes are durable when the call returns. Implementations may be
    used from several threads.
    """

    MOST_COMPARED: ClassVar[int] = 50_000  # points that a search compares with one by one; in this process, in 2 ms
    CANDIDATES: ClassVar[int] = 512  # that a search in the graph keeps (ef): recall@10 0.99 at a million points

    def __init__(self, store: "IndexStore", model: str, dimension: int) -> None:
        self.model = model
        self.dimension = dimension
        self.users = 0  # how many opened it and have not closed it yet; the store counts them
        self._store = store

    def close(self) -> None:
        """Release the index; when its last user does, it is flushed and freed, and can be opened again."""
        self._store.release(self)

    @abstractmethod
    def upsert(self, points: Sequence[Point]) -> None:
        """Add points, replacing those with the same ids.

        Raises:
            IndexWriteFailed: the engine refused; earlier points are kept.
        """

    @abstractmethod
    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """Remove points; ids that are not there are passed over."""

    def search(self, vector: Vector, k: int, *, labels: Sequence[str] = (), exact: bool = False) -> list[Hit]:
        """The k nearest points, highest score first.

        The graph knows no labels and walks past those that are far from the query. So a search within labels compares
        with each of their points, unless they are many and the graph finds enough of them close to the query.

        Args:
            vector: float32 [d]; need not have unit length.
            k: how many.
            labels: only points with one of these labels; empty: all.
            exact: compare with every point instead of using the graph.

        Raises:
            BadQuery: the vector has another length, or holds no finite direction.
        """
        query = check_query(vector, self.dimension)
        if not labels or exact:
            return self._nearest(query, k, labels, exact)
        if self._carrying(labels) > self.MOST_COMPARED:
            for depth in _depths(k, self.CANDIDATES):
                nearest = self._nearest(query, depth, (), exact=False)
                wanted = [hit for hit in nearest if hit.payload.label in labels]
                if len(wanted) >= k:
                    return wanted[:k]
        return self._nearest(query, k, labels, exact=True)

    @abstractmethod
    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """The payloads of those ids that are there."""

    @abstractmethod
    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """The unit vectors of those ids that are there."""

    @abstractmethod
    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """Every point, in the order of the ids, read in batches."""

    @abstractmethod
    def count(self) -> int:
        """How many points there are."""

    @abstractmethod
    def labels(self) -> dict[str, int]:
        """The labels with how many points carry each, the most frequent first, then by name."""

    @abstractmethod
    def optimize(self, stop: threading.Event | None = None) -> bool:
        """Build what searches need to stay fast, where the index has outgrown what it has; call it after many writes.

        It returns when that is built: after minutes for a million points, in which searches and writes go on.

        Args:
            stop: set it to give up; the index stays as it is.

        Returns:
            whether anything was built.

        Raises:
            IndexWriteFailed: it could not be built; the index stays as it is.
        """

    def advice(self) -> str | None:
        """What would serve this many photos better than this index, in a sentence."""
        return None

    @abstractmethod
    def shut(self) -> None:
        """Flush, and free the engine's resources; only the store calls it, once nobody uses the index."""

    @abstractmethod
    def _nearest(self, query: Vector, k: int, labels: Sequence[str], exact: bool) -> list[Hit]:
        """The k points nearest to a checked query, by the graph where there is one, or compared with each."""

    @abstractmethod
    def _carrying(self, labels: Sequence[str]) -> int:
        """About how many points carry one of these labels."""


class IndexStore(Closing):
    """All indexes of one place, one for each model, and which of them serves.

    Whatever a process does at the same time (searches, jobs, an activation) shares one store, which opens each index
    once.
    """

    def __init__(self) -> None:
        self._indexes: dict[str, VectorIndex] = {}
        self._locks: dict[str, threading.Lock] = {}  # one for each model, held while its index is opened or freed

    def open(self, model: str, dimension: int) -> VectorIndex:
        """Return the index of a model, made empty if there is none yet, and shared by all who open it.

        Every call needs one `VectorIndex.close`.

        Raises:
            IndexBusy: another process holds it.
            IndexMismatch: it holds vectors of another dimension.
        """
        with self._lock(model):
            index = self._indexes.get(model)
            if index is None:
                index = self._indexes[model] = self._open(model, dimension)
            if index.dimension != dimension:
                raise wrong_dimension(f"The index of {model}", index.dimension, model, dimension)
            index.users += 1
            return index

    def release(self, index: VectorIndex) -> None:
        """Count one user of an index less, and free the index after its last."""
        with self._lock(index.model):
            index.users -= 1
            if index.users <= 0:
                self._indexes.pop(index.model, None)
                index.shut()

    def close(self) -> None:
        """Free every index that is still open."""
        for model in list(self._indexes):
            with self._lock(model):
                if index := self._indexes.pop(model, None):
                    index.shut()

    def _lock(self, model: str) -> threading.Lock:
        return self._locks.setdefault(model, threading.Lock())

    @abstractmethod
    def _open(self, model: str, dimension: int) -> VectorIndex:
        """Open an index that this store does not have open; see `open`."""

    @abstractmethod
    def models(self) -> list[str]:
        """The models that have an index, in the order of their names."""

    @abstractmethod
    def current(self) -> str | None:
        """The model that serves."""

    @abstractmethod
    def previous(self) -> str | None:
        """The model that served before it."""

    @abstractmethod
    def activate(self, model: str) -> None:
        """Make a model the one that serves, in one step.

        Raises:
            NotFound: it has no index.
        """

    @abstractmethod
    def remove(self, model: str) -> None:
        """Delete a model's index and free its space.

        Raises:
            NotFound: it has no index.
            IndexMismatch: it is the one that serves.
            IndexBusy: another process holds it.
        """


def _depths(k: int, candidates: int) -> Iterator[int]:
    """How many of the nearest points a search within labels looks at, one try after the other."""
    depth = LOOK * k
    while depth < candidates:
        yield depth
        depth *= LOOK
    yield max(candidates, LOOK * k)


def check_query(vector: Vector, dimension: int) -> Vector:
    """The query as float32 [dimension]; raises `BadQuery` where it has another shape or no direction."""
    query = np.asarray(vector, np.float32)
    if query.shape != (dimension,):
        raise BadQuery(f"The query vector has shape {query.shape}; this index holds vectors of {dimension} numbers.")
    if not has_direction(query):
        raise BadQuery("The query vector must hold finite numbers, not all of them zero.")
    return query


def has_direction(vector: Vector) -> bool:
    """Whether a vector can be compared with others: its numbers are finite, and not all of them zero."""
    return bool(np.isfinite(vector).all() and vector.any())


def removable(store: IndexStore, model: str) -> None:
    """Raise unless the model has an index and is not the one that serves."""
    if model not in store.models():
        raise no_index(model)
    if model == store.current():
        raise IndexMismatch(f"{model} is the model that serves.", "Activate another one first.")


def wrong_dimension(place: str, held: object, model: str, dimension: int) -> IndexMismatch:
    """The error for an index of vectors that a model does not make."""
    return IndexMismatch(
        f"{place} holds vectors of {held} numbers, and the model {model} makes {dimension}.",
        "Index the photos again with this model, or use the bundle that the index was made with.",
    )


def no_index(model: str) -> NotFound:
    """The error for a model that has no index."""
    return NotFound(f"There is no index of the model {model}.", "`lookalike models list` shows those there are.")
