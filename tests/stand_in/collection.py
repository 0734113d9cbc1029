"""A collection: its configuration, payload indexes and points."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

from stand_in.answers import not_found, wrong_input
from stand_in.limits import StrictMode, cost_of

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZER = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 2,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
CHECK = "https://qdrant.tech/documentation/concepts/indexing/#payload-index"
MATCHING = ("keyword", "integer", "bool", "uuid")  # the payload indexes that serve facets
RANGES = ("integer", "float", "datetime")  # and those that serve an order


class Collection:
    """A collection of the local client, with what the local client does not keep.

    Args:
        config: as the server describes it.
        indexes: the type of the payload index of each key.
    """

    def __init__(self, client: QdrantClient, name: str, config: dict[str, Any], indexes: dict[str, str]) -> None:
        self.client, self.name = client, name
        self.config, self.indexes = config, indexes
        self.strict = StrictMode(config["params"]["shard_number"])
        self.operation = 0

    @classmethod
    def create(cls, client: QdrantClient, name: str, request: models.CreateCollection) -> "Collection":
        client.create_collection(name, vectors_config=request.vectors)
        params = {
            "vectors": plain(request.vectors),
            "shard_number": request.shard_number or 1,
            "replication_factor": request.replication_factor or 1,
            "write_consistency_factor": request.write_consistency_factor or 1,
            "on_disk_payload": True,
        }
        config = {
            "params": params,
            "hnsw_config": HNSW | plain(request.hnsw_config or {}),
            "optimizer_config": OPTIMIZER | plain(request.optimizers_config or {}),
            "wal_config": WAL,
            "quantization_config": plain(request.quantization_config) if request.quantization_config else None,
        }
        return cls(client, name, config | ({"metadata": request.metadata} if request.metadata else {}), {})

    def change(self, request: models.UpdateCollection) -> None:
        if request.hnsw_config:
            self.config["hnsw_config"] |= plain(request.hnsw_config)
        if request.metadata:
            self.config["metadata"] = self.config.get("metadata", {}) | request.metadata
        if request.strict_mode_config:
            self.strict.change(plain(request.strict_mode_config))

    def description(self) -> dict[str, Any]:
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": self.count(None),
            "segments_count": 2 * self.config["params"]["shard_number"],
            "config": self.config,
            "payload_schema": {key: self._schema(key) for key in self.indexes},
            "update_queue": {"length": 0},
        }

    def add_index(self, key: str, schema: str) -> dict[str, Any]:
        self.indexes[key] = schema
        return self.written()

    def written(self, wait: bool = True) -> dict[str, Any]:
        """The answer to a write."""
        self.operation += 1
        return {"operation_id": self.operation, "status": "completed" if wait else "acknowledged"}

    def upsert(self, points: Sequence[models.PointStruct]) -> None:
        self.strict.write([point.id for point in points])
        for point in points:
            self._check_vector(point.vector)
        self.client.upsert(self.name, list(points))

    def delete(self, selector: models.PointIdsList | models.FilterSelector) -> None:
        self.strict.write(selector.points if isinstance(selector, models.PointIdsList) else [0])
        self.client.delete(self.name, selector)

    def set_payload(self, request: models.SetPayload) -> None:
        self.strict.write(request.points or [0])
        self.client.set_payload(
            self.name, request.payload, points=request.points or models.FilterSelector(filter=request.filter)
        )

    def change_points(self, request: models.UpdateOperations) -> None:
        """Apply several changes of points."""
        self.strict.write(range(len(request.operations)))
        self.client.batch_update_points(self.name, request.operations)

    def query(self, request: models.QueryRequest) -> dict[str, Any]:
        self._check_search(request)
        found = self.client.query_points(self.name, **self._query(request), offset=request.offset, limit=limit(request))
        return {"points": [self._scored(point) for point in found.points]}

    def query_groups(self, request: models.QueryGroupsRequest) -> dict[str, Any]:
        self._check_search(request)
        found = self.client.query_points_groups(
            self.name,
            request.group_by,
            **self._query(request),
            limit=limit(request),
            group_size=request.group_size or 3,
        )
        return {
            "groups": [{"hits": [self._scored(hit) for hit in group.hits], "id": group.id} for group in found.groups]
        }

    def count(self, filter: models.Filter | None) -> int:
        return self.client.count(self.name, filter).count

    def checked_count(self, request: models.CountRequest) -> dict[str, Any]:
        self._check_read(request.filter)
        return {"count": self.count(request.filter)}

    def facet(self, request: models.FacetRequest) -> dict[str, Any]:
        self._check_read(request.filter)
        if self.indexes.get(request.key) not in MATCHING:
            raise wrong_input(
                f"No appropriate index for faceting: `{request.key}`. Please create one to facet on this field. "
                f"Check {CHECK} to see which payload schemas support Match conditions"
            )
        found = self.client.facet(self.name, request.key, facet_filter=request.filter, limit=request.limit or 10)
        return {"hits": [plain(hit) for hit in found.hits]}

    def retrieve(self, request: models.PointRequest) -> list[dict[str, Any]]:
        self.strict.read_points(request.ids)
        payload, vector = request.with_payload or False, request.with_vector or False
        found = self.client.retrieve(self.name, request.ids, with_payload=payload, with_vectors=vector)
        return [record(point) for point in found]

    def point(self, id: str) -> dict[str, Any]:
        if not (found := self.client.retrieve(self.name, [id], with_vectors=True)):
            raise not_found(f"Point with id {id} does not exists!")
        return record(found[0])

    def scroll(self, request: models.ScrollRequest) -> dict[str, Any]:
        self._check_read(request.filter)
        order = models.OrderBy(key=request.order_by) if isinstance(request.order_by, str) else request.order_by
        if order and self.indexes.get(order.key) not in RANGES:
            raise wrong_input(
                f"No range index for `order_by` key: `{order.key}`. Please create one to use `order_by`. "
                f"Check {CHECK} to see which payload schemas support Range conditions"
            )
        found, following = self.client.scroll(
            self.name,
            scroll_filter=request.filter,
            order_by=order,
            offset=request.offset,
            limit=limit(request),
            with_payload=True if request.with_payload is None else request.with_payload,
            with_vectors=request.with_vector or False,
        )
        return {"points": [record(point) for point in found], "next_page_offset": text(following)}

    def _query(self, request: models.QueryRequest | models.QueryGroupsRequest) -> dict[str, Any]:
        return {
            "query": request.query,
            "using": request.using,
            "prefetch": request.prefetch,
            "query_filter": request.filter,
            "search_params": request.params,
            "score_threshold": request.score_threshold,
            "with_payload": request.with_payload or False,
            "with_vectors": request.with_vector or False,
        }

    def _check_search(self, request: models.QueryRequest | models.QueryGroupsRequest) -> None:
        self.strict.check_limit(request.limit)
        self.strict.check_params(request.params)
        self._check_query(request.query, request.using)
        prefetches = request.prefetch if isinstance(request.prefetch, list) else [request.prefetch]
        inner = [prefetch for prefetch in prefetches if prefetch]
        for prefetch in inner:
            self.strict.check_params(prefetch.params)
            self.strict.check_filter(prefetch.filter, set(self.indexes))
            self._check_query(prefetch.query, prefetch.using)
        self._check_read(request.filter, len(inner) or 1)

    def _check_read(self, filter: models.Filter | None, cost: int = 1) -> None:
        self.strict.check_filter(filter, set(self.indexes))
        self.strict.read(cost + cost_of(filter))

    def _check_query(self, query: Any, using: str | None) -> None:
        """Refuse a query of another length, with an unknown vector or an unknown point."""
        if query is None or isinstance(query, models.SampleQuery):
            return
        size = self._size(using or "")
        query = query.nearest if isinstance(query, models.NearestQuery) else query
        if isinstance(query, list):
            self._check_size(query, size)
        elif isinstance(query, str | int | UUID) and not self.client.retrieve(self.name, [query]):
            raise not_found(f"No point with id {query} found")

    def _check_vector(self, vector: Any) -> None:
        named = vector if isinstance(vector, dict) else {"": vector}
        for name, values in named.items():
            self._check_size(values, self._size(name))

    def _size(self, name: str) -> int:
        vectors = self.config["params"]["vectors"]
        params = vectors if "size" in vectors and not name else vectors.get(name)
        if not isinstance(params, dict) or "size" not in params:
            raise wrong_input(f"Not existing vector name error: {name}")
        return int(params["size"])

    @staticmethod
    def _check_size(vector: list[float], size: int) -> None:
        if len(vector) != size:
            raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(vector)}")

    def _scored(self, point: models.ScoredPoint) -> dict[str, Any]:
        return {"id": text(point.id), "version": self.operation, "score": float(point.score)} | record(point)

    def _schema(self, key: str) -> dict[str, Any]:
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        return {"data_type": self.indexes[key], "points": self.count(models.Filter(must_not=[empty]))}


def limit(request: Any) -> int:
    """How many points to return; the server's default is 10."""
    return 10 if request.limit is None else request.limit


def record(point: Any) -> dict[str, Any]:
    """A point as JSON, without what was not asked for."""
    found: dict[str, Any] = {"id": text(point.id)}
    if point.payload is not None:
        found["payload"] = point.payload
    if point.vector:
        named = isinstance(point.vector, dict)
        found["vector"] = {name: numbers(v) for name, v in point.vector.items()} if named else numbers(point.vector)
    if getattr(point, "order_value", None) is not None:
        found["order_value"] = point.order_value
    return found


def numbers(vector: Any) -> list[float]:
    return np.asarray(vector, np.float32).tolist()


def text(id: Any) -> Any:
    return str(id) if isinstance(id, UUID) else id


def plain(model: Any) -> Any:
    """A model of the client as JSON, without what is not set."""
    if isinstance(model, BaseModel):
        return model.model_dump(mode="json", exclude_none=True)
    return {key: plain(value) for key, value in model.items()} if isinstance(model, dict) else model
