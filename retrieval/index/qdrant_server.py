"""The index on a Qdrant server or cluster: a collection for each model, and an alias for the current one."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, cast

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.cancellation import CancellationToken
from retrieval.errors import IndexWriteFailed
from retrieval.index import records
from retrieval.index.base import Hit, IndexStore, Point, VectorIndex, wrong_dimension
from retrieval.index.client import connect, with_retries
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.filtered_search import filtered_search
from retrieval.index.payload import INDEXED_FIELDS, Payload
from retrieval.index.vectors import Vector, check_query
from retrieval.settings import Settings

PREFIX = "lookalike-"
CURRENT = "lookalike"
PREVIOUS = "lookalike-previous"
OVERSAMPLING = 3.0  # int8 vectors with rescoring then find what the full vectors find (recall 0.999)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the server stores new collections.

    Args:
        shards: how many parts the nodes share; None: Qdrant chooses.
        replicas: how many copies of each part are stored, on different nodes.
        on_disk: keep the vectors on disk, and only their quantized copies in memory.
    """

    shards: int | None = None
    replicas: int = 1
    on_disk: bool = False


DEFAULT_LAYOUT = Layout()


class ServerStore(IndexStore):
    """The collections `lookalike-<model id>` of a server; the alias `lookalike` names the current one.

    Args:
        connect: returns a client, which is made when it is first needed, after a server has forked its workers.
        location: of the server, as part of a sentence.
        layout: how the server stores new collections.
    """

    allows_many_processes = True

    def __init__(
        self, connect: Callable[[], QdrantClient], location: str = "Qdrant", layout: Layout = DEFAULT_LAYOUT
    ) -> None:
        super().__init__()
        self.location = location
        self._connect = connect
        self._layout = layout

    @classmethod
    def of(cls, settings: Settings) -> "ServerStore":
        """Return the store on the settings' server; its methods raise as `retrieval.index.client.connect`."""
        layout = Layout(settings.qdrant_shards, settings.qdrant_replicas, settings.qdrant_on_disk)
        return cls(partial(connect, settings), f"Qdrant at {settings.qdrant_url}", layout)

    def models(self) -> list[str]:
        """See `IndexStore.models`."""
        collections = with_retries(self._client.get_collections).collections
        names = (collection.name for collection in collections)
        return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))

    def current(self) -> str | None:
        """See `IndexStore.current`."""
        return self._aliased(CURRENT)

    def previous(self) -> str | None:
        """See `IndexStore.previous`."""
        return self._aliased(PREVIOUS)

    def close(self) -> None:
        """See `IndexStore.close`; the client is closed, too."""
        super().close()
        if client := vars(self).pop("_client", None):
            client.close()

    @cached_property
    def _client(self) -> QdrantClient:
        return self._connect()

    def _open(self, model: str, dimension: int) -> "ServerIndex":
        return with_retries(lambda: ServerIndex(self, self._client, model, dimension, self._layout))

    def _activate(self, model: str) -> None:
        """Move both aliases in one call."""
        current, previous = self.current(), self.previous()
        moves: list[models.AliasOperations] = []
        for alias, target, former in ((CURRENT, model, current), (PREVIOUS, current, previous)):
            if former:
                moves.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
            if target:
                create = models.CreateAlias(collection_name=PREFIX + target, alias_name=alias)
                moves.append(models.CreateAliasOperation(create_alias=create))
        with_retries(lambda: self._client.update_collection_aliases(moves))

    def _remove(self, model: str) -> None:
        with_retries(lambda: self._client.delete_collection(PREFIX + model))

    def _aliased(self, alias: str) -> str | None:
        for entry in with_retries(self._client.get_aliases).aliases:
            if entry.alias_name == alias:
                return entry.collection_name.removeprefix(PREFIX)
        return None


class ServerIndex(VectorIndex):
    """The index of a model in one collection, which is created if it does not exist.

    Several clients may create it at the same time. The payload indexes are created before the first point is written,
    as Qdrant recommends (https://qdrant.tech/documentation/concepts/indexing/).
    """

    FULL_SCAN_POINTS = 50_000  # up to so many that match a filter are compared one by one
    EF = 512  # the candidates of a search in the graph: recall@10 0.99 at a million points

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
            with_retries(lambda: self._client.upsert(self._collection, stored, wait=True), IndexWriteFailed)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            selector = models.PointIdsList(points=_texts(ids))
            with_retries(lambda: self._client.delete(self._collection, selector, wait=True), IndexWriteFailed)

    def search(self, vector: Vector, k: int, filter: Filter = NO_FILTER, *, exact: bool = False) -> list[Hit]:
        """See `VectorIndex.search`."""
        nearest = partial(self._nearest, check_query(vector, self.dimension))
        if not filter or exact:
            return nearest(k, filter, exact)
        if self._matching(filter) <= self.FULL_SCAN_POINTS:
            return nearest(k, filter, True)
        return filtered_search(nearest, k, filter, self.EF)

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        found = with_retries(lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=True))
        return records.payloads(found)

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        found = with_retries(
            lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=False, with_vectors=True)
        )
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
        return with_retries(lambda: self._client.count(self._collection, exact=True)).count

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
        answer = with_retries(
            lambda: self._client.facet(self._collection, "label", limit=records.MOST_LABELS, exact=True)
        )
        return records.labels(answer.hits)

    def optimize(self, cancellation: CancellationToken | None = None) -> bool:
        """See `VectorIndex.optimize`: a server builds its graphs by itself."""
        return False

    def free(self) -> None:
        """See `VectorIndex.free`: the client belongs to the store."""

    def _nearest(self, query: Vector, k: int, filter: Filter, exact: bool) -> list[Hit]:
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        answer = with_retries(
            lambda: self._client.query_points(
                self._collection,
                query=query.tolist(),
                limit=k,
                query_filter=_compiled(filter),
                search_params=models.SearchParams(exact=exact, hnsw_ef=max(self.EF, k), quantization=rescore),
                with_payload=True,
            )
        )
        return records.hits(answer.points)

    def _matching(self, filter: Filter) -> int:
        """About how many points a filter matches."""
        matching = _compiled(filter)
        return with_retries(lambda: self._client.count(self._collection, matching, exact=False)).count

    def _page(self, offset: Any, batch: int) -> tuple[list[models.Record], Any]:
        return with_retries(
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
        for field, kind in INDEXED_FIELDS.items():
            if field not in collection.payload_schema:
                self._client.create_payload_index(self._collection, field, models.PayloadSchemaType(kind))
        size = cast(models.VectorParams, collection.config.params.vectors).size
        if size != self.dimension:
            raise wrong_dimension(f"The collection {self._collection}", size, self.model, self.dimension)


def _compiled(filter: Filter) -> models.Filter | None:
    """Return a filter as Qdrant understands it; None matches every point."""
    if not filter:
        return None
    return models.Filter(must=[models.FieldCondition(key="label", match=models.MatchAny(any=list(filter.labels)))])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
