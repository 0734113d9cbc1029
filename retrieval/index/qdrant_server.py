"""The index on a Qdrant server or cluster: one collection a model, an alias for the one that serves."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.errors import IndexWriteFailed
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
from retrieval.index.client import ask, connect
from retrieval.settings import Settings

PREFIX = "lookalike-"
CURRENT = "lookalike"
PREVIOUS = "lookalike-previous"
OVERSAMPLING = 3.0  # with int8 vectors and rescoring, this finds what the full vectors find (recall 0.999)


@dataclass(frozen=True, slots=True)
class Layout:
    """How new collections lie on the server.

    Args:
        shards: parts that nodes share; None: Qdrant chooses.
        replicas: copies of each part, on different nodes.
        on_disk: keep the vectors on disk, and only their quantized copies in memory.
    """

    shards: int | None = None
    replicas: int = 1
    on_disk: bool = False


DEFAULT_LAYOUT = Layout()


class ServerStore(IndexStore):
    """The collections `lookalike-<model id>` of a server; the alias `lookalike` names the one that serves.

    Args:
        client: a connected client, or `QdrantClient(":memory:")`.
        layout: how new collections lie on the server.
    """

    def __init__(self, client: QdrantClient, layout: Layout = DEFAULT_LAYOUT) -> None:
        super().__init__()
        self._client = client
        self._layout = layout

    @classmethod
    def connect(cls, settings: Settings) -> "ServerStore":
        """The store on the settings' server; raises as `retrieval.index.client.connect`."""
        layout = Layout(settings.qdrant_shards, settings.qdrant_replicas, settings.qdrant_on_disk)
        return cls(connect(settings), layout)

    def models(self) -> list[str]:
        """See `IndexStore.models`."""
        collections = ask(self._client.get_collections).collections
        names = (collection.name for collection in collections)
        return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))

    def current(self) -> str | None:
        """See `IndexStore.current`."""
        return self._aliased(CURRENT)

    def previous(self) -> str | None:
        """See `IndexStore.previous`."""
        return self._aliased(PREVIOUS)

    def activate(self, model: str) -> None:
        """See `IndexStore.activate`: both aliases move in one call."""
        if model not in self.models():
            raise no_index(model)
        current = self.current()
        if model == current:
            return
        moves: list[models.AliasOperations] = []
        for alias, target, had in ((CURRENT, model, current), (PREVIOUS, current, self.previous())):
            if had:
                moves.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
            if target:
                create = models.CreateAlias(collection_name=PREFIX + target, alias_name=alias)
                moves.append(models.CreateAliasOperation(create_alias=create))
        ask(lambda: self._client.update_collection_aliases(moves))

    def remove(self, model: str) -> None:
        """See `IndexStore.remove`."""
        removable(self, model)
        ask(lambda: self._client.delete_collection(PREFIX + model))

    def close(self) -> None:
        """See `IndexStore.close`; the connections to the server end, too."""
        super().close()
        self._client.close()

    def _open(self, model: str, dimension: int) -> "ServerIndex":
        return ask(lambda: ServerIndex(self, self._client, model, dimension, self._layout))

    def _aliased(self, alias: str) -> str | None:
        for entry in ask(self._client.get_aliases).aliases:
            if entry.alias_name == alias:
                return entry.collection_name.removeprefix(PREFIX)
        return None


class ServerIndex(VectorIndex):
    """One collection, made where there is none, whoever else makes it at the same moment.

    The payload index on `label` is there before anybody writes a point, so that the graph knows the filter
    (https://qdrant.tech/documentation/concepts/indexing/).
    """

    def __init__(
        self,
        store: ServerStore,
        client: QdrantClient,
        model: str,
        dimension: int,
        layout: Layout = DEFAULT_LAYOUT,
    ) -> None:
        super().__init__(store, model, dimension)
        self._client = client
        self._collection = PREFIX + model
        self._layout = layout
        if not client.collection_exists(self._collection):
            self._create()
        self._check()

    def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`."""
        if points:
            stored = [
                models.PointStruct(id=str(point.id), vector=point.vector.tolist(), payload=point.payload.as_dict())
                for point in points
            ]
            ask(lambda: self._client.upsert(self._collection, stored, wait=True), IndexWriteFailed)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            selector = models.PointIdsList(points=_texts(ids))
            ask(lambda: self._client.delete(self._collection, selector, wait=True), IndexWriteFailed)

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        found = ask(lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=True))
        return records.payloads(found)

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        found = ask(lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=False, with_vectors=True))
        return records.vectors(found)

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """See `VectorIndex.scroll`."""
        offset = None
        while True:
            found, offset = self._page(offset, batch)
            yield from records.points(found)
            if offset is None:
                return

    def count(self) -> int:
        """See `VectorIndex.count`."""
        return ask(lambda: self._client.count(self._collection, exact=True)).count

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
        answer = ask(lambda: self._client.facet(self._collection, "label", limit=records.MOST_LABELS, exact=True))
        return records.labels(answer.hits)

    def optimize(self, stop: threading.Event | None = None) -> bool:
        """See `VectorIndex.optimize`: the server builds its graphs by itself."""
        return False

    def shut(self) -> None:
        """See `VectorIndex.shut`: the server keeps the collection."""

    def _nearest(self, query: Vector, k: int, labels: Sequence[str], exact: bool) -> list[Hit]:
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        answer = ask(
            lambda: self._client.query_points(
                self._collection,
                query=query.tolist(),
                limit=k,
                query_filter=_label_filter(labels),
                search_params=models.SearchParams(exact=exact, hnsw_ef=max(self.CANDIDATES, k), quantization=rescore),
                with_payload=True,
            )
        )
        return records.hits(answer.points)

    def _carrying(self, labels: Sequence[str]) -> int:
        counted = ask(lambda: self._client.count(self._collection, count_filter=_label_filter(labels), exact=False))
        return counted.count

    def _page(self, offset: Any, batch: int) -> tuple[list[models.Record], Any]:
        return ask(
            lambda: self._client.scroll(
                self._collection, offset=offset, limit=batch, with_payload=True, with_vectors=True
            )
        )

    def _create(self) -> None:
        try:
            self._client.create_collection(
                self._collection,
                vectors_config=models.VectorParams(
                    size=self.dimension, distance=models.Distance.COSINE, on_disk=self._layout.on_disk
                ),
                shard_number=self._layout.shards,
                replication_factor=self._layout.replicas,
                quantization_config=models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                ),
            )
        except UnexpectedResponse:
            if not self._client.collection_exists(self._collection):
                raise

    def _check(self) -> None:
        collection = self._client.get_collection(self._collection)
        if "label" not in collection.payload_schema:
            self._client.create_payload_index(self._collection, "label", models.PayloadSchemaType.KEYWORD)
        size = cast(models.VectorParams, collection.config.params.vectors).size
        if size != self.dimension:
            raise wrong_dimension(f"The collection {self._collection}", size, self.model, self.dimension)


def _label_filter(labels: Sequence[str]) -> models.Filter | None:
    if not labels:
        return None
    return models.Filter(must=[models.FieldCondition(key="label", match=models.MatchAny(any=list(labels)))])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
