"""The embedded index: Qdrant Edge in this process, one folder a model.

Edge and its behaviour: https://qdrant.tech/documentation/edge/ . One process holds a folder, and locks it before it
looks what is there; Edge's own lock comes too late for two processes that make an index at once.
"""

import fcntl
import json
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

import numpy as np
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

from retrieval.errors import IndexBusy, IndexMismatch, IndexUnreadable, IndexWriteFailed, LookalikeError
from retrieval.files import write_atomically
from retrieval.index.base import (
    Hit,
    IndexStore,
    Payload,
    Point,
    Vector,
    VectorIndex,
    as_uuid,
    check_query,
    clip_score,
    no_index,
    removable,
)

# Edge maps its files into memory: writing past the end of a full disk would kill the process, so it must never come
# to that. One batch of points, its log segment and its payload fit many times over; opening writes a few kilobytes.
SPARE_BYTES = 96 * 1024 * 1024
OPENING_BYTES = 8 * 1024 * 1024
MOST_LABELS = 1_000_000
POINTER = TypeAdapter(dict[str, str | None])


class EmbeddedStore(IndexStore):
    """The indexes below one folder, with `current.json` naming the model that serves.

    Args:
        folder: where they lie; made when first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pointer = folder / "current.json"

    def open(self, model: str, dimension: int) -> "EmbeddedIndex":
        """See `IndexStore.open`; the process that holds a busy index is named in the error."""
        return EmbeddedIndex(self._folder / model, model, dimension)

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
        with _hold(self._folder / model):
            shutil.rmtree(self._folder / model)

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

    def __init__(self, folder: Path, model: str, dimension: int) -> None:
        self.model = model
        self.dimension = dimension
        self._folder = folder
        self._lock = threading.Lock()
        with self._reading("opened"):
            _require_space(folder, OPENING_BYTES)
            self._holder = _hold(folder)
            try:
                self._shard = self._open()
            except BaseException:
                self._holder.close()
                raise

    def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`; refuses before the disk is full."""
        if points:
            stored = [EdgePoint(point.id, _as_edge(point.vector), point.payload.as_dict()) for point in points]
            self._write(UpdateOperation.upsert_points(stored))

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            self._write(UpdateOperation.delete_points(list(ids)))

    def search(self, vector: Vector, k: int, *, labels: Sequence[str] = (), exact: bool = False) -> list[Hit]:
        """See `VectorIndex.search`."""
        request = QueryRequest(
            limit=k,
            query=Query.Nearest(_as_edge(check_query(vector, self.dimension))),
            filter=Filter(must=[FieldCondition("label", match=MatchAny(list(labels)))]) if labels else None,
            params=SearchParams(exact=exact),
            with_payload=True,
        )
        with self._reading():
            hits = self._shard.query(request)
            return [Hit(as_uuid(hit.id), clip_score(hit.score), Payload.from_dict(hit.payload)) for hit in hits]

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        with self._reading():
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=False)
            return {as_uuid(record.id): Payload.from_dict(record.payload) for record in records}

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        with self._reading():
            records = self._shard.retrieve(list(ids), with_payload=False, with_vector=True)
            return {as_uuid(record.id): np.asarray(record.vector, np.float32) for record in records}

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """See `VectorIndex.scroll`."""
        offset = None
        while True:
            request = ScrollRequest(offset=offset, limit=batch, with_payload=True, with_vector=True)
            with self._reading():
                records, offset = self._shard.scroll(request)
                points = [
                    Point(as_uuid(record.id), np.asarray(record.vector, np.float32), Payload.from_dict(record.payload))
                    for record in records
                ]
            yield from points
            if offset is None:
                return

    def count(self) -> int:
        """See `VectorIndex.count`."""
        with self._reading():
            return self._shard.count(CountRequest(exact=True))

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
        with self._reading():
            hits = self._shard.facet(FacetRequest("label", limit=MOST_LABELS, exact=True)).hits
        counts = ((str(hit.value), hit.count) for hit in hits if hit.count)  # Edge remembers labels that are gone
        return dict(sorted(counts, key=lambda pair: (-pair[1], pair[0])))

    def close(self) -> None:
        """See `VectorIndex.close`."""
        with self._lock:
            try:
                self._shard.flush()
            except Exception as error:  # Edge raises plain exceptions
                raise self._refused(error) from None
            finally:
                self._shard.close()
                self._holder.truncate(0)
                self._holder.close()

    def _open(self) -> EdgeShard:
        description = self._folder / self.DESCRIPTION
        shard = self._folder / "shard"
        if not description.exists():
            return self._create(shard, description)
        self._check(json.loads(description.read_bytes()))
        return EdgeShard.load(str(shard))

    def _create(self, shard: Path, description: Path) -> EdgeShard:
        """Make an empty shard; its description is written last, so that a half-made one is made anew."""
        _require_space(self._folder)
        shutil.rmtree(shard, ignore_errors=True)
        shard.mkdir(parents=True)
        created = EdgeShard.create(
            str(shard),
            EdgeConfig(
                vectors=EdgeVectorParams(size=self.dimension, distance=Distance.Cosine),
                optimizers=EdgeOptimizersConfig(default_segment_number=1),
            ),
        )
        created.update(UpdateOperation.create_field_index("label", PayloadSchemaType.Keyword))
        write_atomically(description, json.dumps({"model": self.model, "dimension": self.dimension}))
        return created

    def _check(self, description: Mapping[str, object]) -> None:
        if description.get("dimension") != self.dimension:
            raise IndexMismatch(
                f"The index {self._folder} holds vectors of {description.get('dimension')} numbers, "
                f"and the model {self.model} makes {self.dimension}.",
                "Index the photos again with this model, or use the bundle that the index was made with.",
            )

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

    def _write(self, operation: UpdateOperation) -> None:
        with self._lock:
            _require_space(self._folder)
            try:
                self._shard.update(operation)
            except Exception as error:  # Edge raises plain exceptions
                raise self._refused(error) from None

    def _refused(self, error: Exception) -> IndexWriteFailed:
        return IndexWriteFailed(
            f"The index {self._folder} could not be written ({error}).",
            "What it held before is kept. Make room, then run the same command again.",
        )


def _as_edge(vector: Vector) -> list[float]:
    """Edge takes NumPy vectors without copying them into lists, which its type hints do not say."""
    return cast(list[float], vector)


def _require_space(folder: Path, needed: int = SPARE_BYTES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise IndexWriteFailed(
            f"The disk that holds {folder} is full: {free // 1_000_000} MB are left, and using the index safely takes "
            f"{needed // 1_000_000} MB.",
            "What is indexed is kept. Make room, then run the same command again.",
        )


def _hold(folder: Path) -> TextIO:
    """Lock an index's folder by the file that names its holder; closing the file lets go.

    Raises:
        IndexBusy: another process holds it, or has just removed it.
    """
    file = (folder / "holder.json").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with file:
            raise IndexBusy(
                f"The index {folder} is held by another process{_name_holder(file)}.",
                "Stop that process, or ask it: while `lookalike serve` runs, search through its page or API.",
            ) from None
    if os.fstat(file.fileno()).st_nlink == 0:
        file.close()
        raise IndexBusy(f"The index {folder} was removed at this moment.", "Run the same command again.")
    file.truncate(0)
    json.dump({"pid": os.getpid(), "command": " ".join(["lookalike", *sys.argv[1:]])}, file)
    file.flush()
    return file


def _name_holder(file: TextIO) -> str:
    for _ in range(20):
        file.seek(0)
        with suppress(ValueError):
            holder = json.load(file)
            return f": `{holder['command']}`, process {holder['pid']}"
        time.sleep(0.01)  # it has the lock, and has not written its name yet
    return ""
