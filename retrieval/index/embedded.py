"""The embedded index: Qdrant Edge in this process, one folder a model.

A search compares with every point until `optimize` has built a graph (HNSW) of them: on a copy of the shard, in a
process of its own (`retrieval.index.graph`), while searches and writes go on. The description of the index,
`index.json`, names the shard in use and is replaced atomically; so a process that is killed, whenever it is, leaves
either the shard before or the one after, and each holds every point.

Edge and its behaviour: https://qdrant.tech/documentation/edge/ . One process holds a folder, and locks it before it
looks what is there; Edge's own lock comes too late for two processes that make an index at once.
"""

import json
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter, ValidationError
from qdrant_edge import (
    CountRequest,
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FacetRequest,
    FieldCondition,
    Filter,
    MatchAny,
    PayloadSchemaType,
    Query,
    QueryRequest,
    ScrollRequest,
    SearchParams,
    UpdateOperation,
)
from qdrant_edge import Point as EdgePoint

from retrieval.errors import IndexUnreadable, IndexWriteFailed, LookalikeError
from retrieval.files import write_atomically
from retrieval.index import records
from retrieval.index.base import (
    Hit,
    IndexStore,
    Payload,
    Point,
    Vector,
    VectorIndex,
    no_index,
    removable,
    wrong_dimension,
)
from retrieval.index.folder import OPENING_BYTES, SPARE_BYTES, hold, require_space
from retrieval.index.graph import bring_up_to_date, build_graph

SHARD = "shard"
WRITTEN_AT_ONCE = 1_000  # points for which writes may wait
FEW_POINTS = 250_000
MANY_POINTS = 2_000_000
POINTER = TypeAdapter(dict[str, str | None])


class EmbeddedStore(IndexStore):
    """The indexes below one folder, with `current.json` naming the model that serves.

    Args:
        folder: where they lie; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._pointer = folder / "current.json"

    def models(self) -> list[str]:
        """See `IndexStore.models`."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{EmbeddedIndex.DESCRIPTION}"))

    def current(self) -> str | None:
        """See `IndexStore.current`."""
        return self._read_pointer().get("current")

    def previous(self) -> str | None:
        """See `IndexStore.previous`."""
        previous = self._read_pointer().get("previous")
        return previous if previous in self.models() else None

    def activate(self, model: str) -> None:
        """See `IndexStore.activate`: the pointer file is replaced atomically."""
        if model not in self.models():
            raise no_index(model)
        current = self.current()
        if model != current:
            write_atomically(self._pointer, json.dumps({"current": model, "previous": current}))

    def remove(self, model: str) -> None:
        """See `IndexStore.remove`."""
        removable(self, model)
        with hold(self._folder / model):
            shutil.rmtree(self._folder / model)

    def _open(self, model: str, dimension: int) -> "EmbeddedIndex":
        """See `IndexStore.open`; the process that holds a busy index is named in the error."""
        return EmbeddedIndex(self, self._folder / model, model, dimension)

    def _read_pointer(self) -> dict[str, str | None]:
        try:
            return POINTER.validate_json(self._pointer.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise IndexUnreadable(
                f"{self._pointer} is damaged: it does not name the model that serves.",
                "Delete that file, and name the model with `lookalike models activate MODEL`.",
            ) from None


class EmbeddedIndex(VectorIndex):
    """One Edge shard.

    Args:
        store: opens it.
        folder: the shard's folder; made where it does not exist.
        model: the model whose embeddings it holds.
        dimension: their length.

    Raises:
        IndexBusy: another process holds it.
        IndexMismatch: it holds vectors of another dimension.
        IndexUnreadable: it is damaged, or not this user's.
        IndexWriteFailed: the disk is full.
    """

    DESCRIPTION = "index.json"

    def __init__(self, store: EmbeddedStore, folder: Path, model: str, dimension: int) -> None:
        super().__init__(store, model, dimension)
        self._folder = folder
        self._description = folder / self.DESCRIPTION
        self._place = folder / SHARD  # of the shard in use
        self._lock = threading.Lock()  # held by whoever writes
        self._building = threading.Lock()  # held by whoever builds a graph
        self._closing = threading.Event()
        self._written: set[uuid.UUID] = set()  # the points written since the shard was copied for it
        self._changes = 0  # points written or removed since the last graph was built
        self._few: bool | None = None  # whether there are few points; None: not counted since the last write
        with self._reading("opened"):
            require_space(folder, OPENING_BYTES)
            self._holder = hold(folder)
            try:
                self._shard = self._open()
            except BaseException:
                self._holder.close()
                raise

    def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`; refuses before the disk is full."""
        if points:
            stored = [EdgePoint(point.id, _as_edge(point.vector), point.payload.as_dict()) for point in points]
            self._write(UpdateOperation.upsert_points(stored), [point.id for point in points])

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            self._write(UpdateOperation.delete_points(list(ids)), ids)

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        with self._reading():
            found = self._shard.retrieve(list(ids), with_payload=True, with_vector=False)
            return records.payloads(found)

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        with self._reading():
            found = self._shard.retrieve(list(ids), with_payload=False, with_vector=True)
            return records.vectors(found)

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """See `VectorIndex.scroll`."""
        offset = None
        while True:
            request = ScrollRequest(offset=offset, limit=batch, with_payload=True, with_vector=True)
            with self._reading():
                found, offset = self._shard.scroll(request)
                page = records.points(found)
            yield from page
            if offset is None:
                return

    def count(self) -> int:
        """See `VectorIndex.count`."""
        with self._reading():
            return self._shard.count(CountRequest(exact=True))

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
        with self._reading():
            return records.labels(self._shard.facet(FacetRequest("label", limit=records.MOST_LABELS, exact=True)).hits)

    def optimize(self, stop: threading.Event | None = None) -> bool:
        """See `VectorIndex.optimize`; while it runs, the index takes three times its space on disk."""

        def give_up() -> bool:
            return self._closing.is_set() or (stop is not None and stop.is_set())

        if self._outside_graph() <= self.MOST_COMPARED or not self._building.acquire(blocking=False):
            return False
        copy = self._folder / f"{SHARD}-{uuid.uuid4().hex[:8]}"
        try:
            with self._writing():
                self._copy(copy)
                built = build_graph(copy, self.dimension, give_up)
                if built:
                    self._take_over(copy)
        finally:
            self._written.clear()
            self._sweep()
            self._building.release()
        return built

    def advice(self) -> str | None:
        """See `VectorIndex.advice`."""
        if self.count() <= MANY_POINTS:
            return None
        return (
            f"{self.count():,} photos are many for an index in one process. A Qdrant server builds its graphs beside "
            "its searches, and shares the work among machines: `lookalike migrate --to server` brings the index there."
        )

    def shut(self) -> None:
        """See `VectorIndex.shut`; a graph that is being built is given up."""
        self._closing.set()
        with self._building, self._lock:
            if self._holder.closed:
                return
            try:
                with self._writing():
                    self._shard.flush()
                    self._describe(self._place)
            finally:
                self._shard.close()
                self._holder.truncate(0)
                self._holder.close()

    def _open(self) -> EdgeShard:
        if not self._description.exists():
            return self._create()
        description = json.loads(self._description.read_bytes())
        self._check(description)
        self._place = self._folder / description.get("shard", SHARD)
        self._changes = description.get("changes", 0)
        self._sweep()
        return EdgeShard.load(str(self._place))

    def _create(self) -> EdgeShard:
        """Make an empty shard; its description is written last, so that a half-made one is made anew."""
        require_space(self._folder)
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        created = EdgeShard.create(
            str(self._place),
            EdgeConfig(
                vectors=EdgeVectorParams(size=self.dimension, distance=Distance.Cosine),
                optimizers=EdgeOptimizersConfig(default_segment_number=1),
            ),
        )
        created.update(UpdateOperation.create_field_index("label", PayloadSchemaType.Keyword))
        self._describe(self._place)
        return created

    def _describe(self, shard: Path) -> None:
        names = {"model": self.model, "dimension": self.dimension, "shard": shard.name, "changes": self._changes}
        write_atomically(self._description, json.dumps(names))

    def _sweep(self) -> None:
        """Remove the shards that are not in use: those of builds that did not end, and the one before the last."""
        for shard in self._folder.glob(f"{SHARD}*"):
            if shard != self._place:
                shutil.rmtree(shard, ignore_errors=True)

    def _nearest(self, query: Vector, k: int, labels: Sequence[str], exact: bool) -> list[Hit]:
        with self._reading():
            request = QueryRequest(
                limit=k,
                query=Query.Nearest(_as_edge(query)),
                filter=_label_filter(labels),
                params=SearchParams(exact=exact, hnsw_ef=max(self._candidates(), k)),
                with_payload=True,
            )
            return records.hits(self._shard.query(request))

    def _carrying(self, labels: Sequence[str]) -> int:
        with self._reading():
            return self._shard.count(CountRequest(filter=_label_filter(labels), exact=False))

    def _candidates(self) -> int:
        """How many candidates a search in the graph keeps: in fewer points, fewer find as much."""
        if self._few is None:
            self._few = self._shard.count(CountRequest(exact=False)) <= FEW_POINTS
        return self.CANDIDATES // 4 if self._few else self.CANDIDATES

    def _outside_graph(self) -> int:
        """About how many points the graph does not hold as they are: Edge does not count those that were replaced."""
        with self._reading():
            info = self._shard.info()
        return max(info.points_count - info.indexed_vectors_count, self._changes)

    def _copy(self, copy: Path) -> None:
        """Copy the shard as it is now; the points that are written from now on are remembered."""
        with self._lock:
            self._shard.flush()
            size = sum(file.stat().st_size for file in self._place.rglob("*") if file.is_file())
            require_space(self._folder, SPARE_BYTES + 2 * size)
            shutil.copytree(self._place, copy)
            self._written.clear()

    def _take_over(self, copy: Path) -> None:
        """Bring the copy up to date, and make it the shard in use; writes wait for the last few points only."""
        built = EdgeShard.load(str(copy))
        while len(self._written) > WRITTEN_AT_ONCE:
            with self._lock:
                written, self._written = self._written, set()
            bring_up_to_date(built, self._shard, list(written))
        with self._lock:
            bring_up_to_date(built, self._shard, list(self._written))
            built.flush()
            self._changes = 0
            self._describe(copy)
            self._place, self._shard = copy, built  # whoever searches in the former shard keeps it until then

    def _check(self, description: Mapping[str, object]) -> None:
        if description.get("dimension") != self.dimension:
            held = description.get("dimension")
            raise wrong_dimension(f"The index {self._folder}", held, self.model, self.dimension)

    @contextmanager
    def _reading(self, what: str = "read") -> Iterator[None]:
        """Turns what Edge and the system raise into a sentence."""
        try:
            yield
        except LookalikeError:
            raise
        except Exception as error:  # Edge raises plain exceptions
            remedy = "Move that folder away and run `lookalike index` again."
            if "ermission" in str(error):
                remedy = "Correct the permissions of that folder, or run this as the user who made it."
            raise IndexUnreadable(f"The index {self._folder} can't be {what} ({error}).", remedy) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what Edge and the system raise into a sentence."""
        try:
            yield
        except LookalikeError:
            raise
        except Exception as error:  # Edge raises plain exceptions
            raise IndexWriteFailed(
                f"The index {self._folder} could not be written ({error}).",
                "What it held before is kept. Make room, then run the same command again.",
            ) from None

    def _write(self, operation: UpdateOperation, ids: Sequence[uuid.UUID]) -> None:
        with self._lock, self._writing():
            require_space(self._folder)
            self._shard.update(operation)
            self._changes += len(ids)
            self._few = None
            if self._building.locked():
                self._written.update(ids)


def _label_filter(labels: Sequence[str]) -> Filter | None:
    return Filter(must=[FieldCondition("label", match=MatchAny(list(labels)))]) if labels else None


def _as_edge(vector: Vector) -> list[float]:
    """Edge takes NumPy vectors without copying them into lists, which its type hints do not say."""
    return cast(list[float], vector)
