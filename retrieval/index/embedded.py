"""The embedded index: Qdrant Edge in this process, one folder a model.

Edge and its behaviour: https://qdrant.tech/documentation/edge/ . One process may hold a folder; Edge itself locks it.
"""

import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
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

from retrieval.errors import IndexBusy, IndexMismatch, IndexWriteFailed
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
        shutil.rmtree(self._folder / model)

    def _read_pointer(self) -> dict[str, str | None]:
        return _read_json(self._pointer) if self._pointer.exists() else {}


class EmbeddedIndex(VectorIndex):
    """One Edge shard.

    Args:
        folder: the shard's folder; made where it does not exist.
        model: the model whose embeddings it holds.
        dimension: their length.

    Raises:
        IndexBusy: another process holds it.
        IndexMismatch: it holds vectors of another dimension.
        IndexWriteFailed: the disk is full or refuses.
    """

    DESCRIPTION = "index.json"

    def __init__(self, folder: Path, model: str, dimension: int) -> None:
        self.model = model
        self.dimension = dimension
        self._folder = folder
        self._lock = threading.Lock()
        self._shard = self._open()
        write_atomically(
            folder / "holder.json", json.dumps({"pid": os.getpid(), "command": " ".join(["lookalike", *sys.argv[1:]])})
        )

    def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`; refuses before the disk is full."""
        if points:
            stored = [EdgePoint(point.id, _as_edge(point.vector), point.payload.as_dict()) for point in points]
            self._write(UpdateOperation.upsert_points(stored))

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            self._write(UpdateOperation.delete_points(list(ids)))

    def search(
        self, vector: Vector, k: int, *, labels: Sequence[str] = (), offset: int = 0, exact: bool = False
    ) -> list[Hit]:
        """See `VectorIndex.search`."""
        request = QueryRequest(
            limit=k,
            offset=offset,
            query=Query.Nearest(_as_edge(check_query(vector, self.dimension))),
            filter=Filter(must=[FieldCondition("label", match=MatchAny(list(labels)))]) if labels else None,
            params=SearchParams(exact=exact),
            with_payload=True,
        )
        return [
            Hit(as_uuid(hit.id), clip_score(hit.score), Payload.from_dict(hit.payload))
            for hit in self._shard.query(request)
        ]

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        records = self._shard.retrieve(list(ids), with_payload=True, with_vector=False)
        return {as_uuid(record.id): Payload.from_dict(record.payload) for record in records}

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        records = self._shard.retrieve(list(ids), with_payload=False, with_vector=True)
        return {as_uuid(record.id): np.asarray(record.vector, np.float32) for record in records}

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """See `VectorIndex.scroll`."""
        offset = None
        while True:
            records, offset = self._shard.scroll(
                ScrollRequest(offset=offset, limit=batch, with_payload=True, with_vector=True)
            )
            for record in records:
                yield Point(
                    as_uuid(record.id), np.asarray(record.vector, np.float32), Payload.from_dict(record.payload)
                )
            if offset is None:
                return

    def count(self) -> int:
        """See `VectorIndex.count`."""
        return self._shard.count(CountRequest(exact=True))

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
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
                (self._folder / "holder.json").unlink(missing_ok=True)

    def _open(self) -> EdgeShard:
        description = self._folder / self.DESCRIPTION
        shard = self._folder / "shard"
        try:
            if description.exists():
                self._check(_read_json(description))
                _require_space(self._folder, OPENING_BYTES)
                return EdgeShard.load(str(shard))
            return self._create(shard, description)
        except OSError as error:
            raise IndexWriteFailed(f"The index {self._folder} can't be opened ({error.strerror}).") from None
        except Exception as error:  # Edge raises plain exceptions
            raise self._explain(error) from None

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

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, (IndexBusy, IndexMismatch, IndexWriteFailed)):
            return error
        if "WouldBlock" in str(error):
            return IndexBusy(
                f"The index {self._folder} is held by another process{_name_holder(self._folder)}.",
                "Stop that process, or ask it: while `lookalike serve` runs, search and index through its page or API.",
            )
        return IndexWriteFailed(
            f"The index {self._folder} can't be opened ({error}).",
            "Move that folder away and run `lookalike index` again.",
        )

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


def _name_holder(folder: Path) -> str:
    try:
        holder = _read_json(folder / "holder.json")
    except (OSError, ValueError):
        return ""
    return f": `{holder['command']}`, process {holder['pid']}"


def _read_json(path: Path) -> dict[str, str | None]:
    return dict(json.loads(path.read_text(encoding="utf-8")))
