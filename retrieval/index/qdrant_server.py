"""The index on a Qdrant server or cluster: a collection for each model, and an alias for the current one."""

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.bundle_format import CalibrationData
from retrieval.cancellation import CancellationToken
from retrieval.errors import IndexWriteFailed, LookalikeError
from retrieval.index import records
from retrieval.index.base import Hit, IndexStore, Point
from retrieval.index.client import Result, connect, require_ready, with_retries
from retrieval.index.filter import Filter
from retrieval.index.payload import INDEXED_FIELDS, Payload
from retrieval.index.planned_search import PlannedSearch
from retrieval.index.vectors import LOOK, WHOLE, Vector
from retrieval.settings import Settings

PREFIX = "lookalike-"
CURRENT = "lookalike"
PREVIOUS = "lookalike-previous"
CALIBRATION = "lookalike-calibration"  # in the metadata of a collection: JSON, as text
GUARD = "lookalike-activation"  # the start of an alias that each activation renames, so that only one of two succeeds
OVERSAMPLING = 3.0  # int8 vectors with rescoring then find what the full vectors find (recall 0.999)

AliasActions = list[models.AliasOperations]


class ServerStore(IndexStore):
    """The collections `lookalike-<model id>` of a server; the alias `lookalike` names the current one.

    One client is created when the store is first used, and shared by all threads. Its methods raise as
    `retrieval.index.client.connect` and `require_ready`.
    """

    allows_many_processes = True

    def __init__(self, settings: Settings, connect: Callable[[Settings], QdrantClient] = connect) -> None:
        super().__init__()
        self.location = f"Qdrant at {settings.qdrant_url}"
        self.settings = settings
        self._connect = connect
        self._connecting = threading.Lock()
        self._connected: QdrantClient | None = None
        self._is_ready = False

    def models(self) -> list[str]:
        collections = with_retries(self._client.get_collections).collections
        names = (collection.name for collection in collections)
        return sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))

    def current(self) -> str | None:
        return self._aliases().get(CURRENT)

    def previous(self) -> str | None:
        return self._aliases().get(PREVIOUS)

    def close(self) -> None:
        """See `IndexStore.close`; the client is closed, too."""
        super().close()
        with self._connecting:
            client, self._connected, self._is_ready = self._connected, None, False
        if client:
            client.close()

    @property
    def _client(self) -> QdrantClient:
        """The client, once the server is ready; threads wait for the server beside each other."""
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect(self.settings)
            client = self._connected
        if not self._is_ready:
            require_ready(client)
            self._is_ready = True
        return client

    def _open(self, model: str, dimension: int, look: int) -> "ServerIndex":
        return with_retries(lambda: ServerIndex(self, self._client, model, dimension, look))

    def _replace_current(self, expected: str | None, model: str) -> bool:
        """Move both aliases in one call, which the server refuses if another process has renamed the guard."""
        aliases = self._aliases()
        if not _guard(aliases):
            self._change_aliases([_create(GUARD, model)])
            aliases = self._aliases()
        if aliases.get(CURRENT) != expected or not (guard := _guard(aliases)):
            return False
        renamed = f"{GUARD}-{uuid.uuid4().hex}"
        actions: AliasActions = [_rename(guard, renamed)]
        for alias, target in ((renamed, model), (CURRENT, model), (PREVIOUS, expected)):
            if target:
                actions += [_delete(alias), _create(alias, target)]
        try:
            self._change_aliases(actions)
        except LookalikeError:
            aliases = self._aliases()
            if guard in aliases or (renamed in aliases and aliases.get(CURRENT) != model):
                raise
            return renamed in aliases
        return True

    def _saved_count(self, model: str) -> int:
        return with_retries(lambda: self._client.count(PREFIX + model, exact=True)).count

    def _remove(self, model: str) -> None:
        with_retries(lambda: self._client.delete_collection(PREFIX + model))

    def _aliases(self) -> dict[str, str]:
        """Return the model that each alias names."""
        found = with_retries(self._client.get_aliases).aliases
        return {entry.alias_name: entry.collection_name.removeprefix(PREFIX) for entry in found}

    def _change_aliases(self, actions: AliasActions) -> None:
        """Apply the actions in their order, until the first that the server refuses; raises `LookalikeError` then."""
        with_retries(lambda: self._client.update_collection_aliases(actions))


class ServerIndex(PlannedSearch):
    """The index of a model in one collection, which is created if it does not exist.

    Several clients may create it at the same time. The payload indexes are created before the first point is written,
    as Qdrant recommends (https://qdrant.tech/documentation/concepts/indexing/).
    """

    def __init__(self, store: ServerStore, client: QdrantClient, model: str, dimension: int, look: int = 0) -> None:
        super().__init__(store, model, dimension, look)
        self._client = client
        self._collection = PREFIX + model
        if not client.collection_exists(self._collection):
            self._create(store.settings)
        collection = client.get_collection(self._collection)
        self.dimension, self.look = _lengths(collection.config.params.vectors)
        for field, kind in INDEXED_FIELDS.items():
            if field not in collection.payload_schema:
                client.create_payload_index(self._collection, field, models.PayloadSchemaType(kind))

    def upsert(self, points: Sequence[Point]) -> None:
        if points:
            stored = [
                models.PointStruct(id=str(point.id), vector=self._stored(point.vector), payload=point.payload.as_dict())
                for point in points
            ]
            with_retries(lambda: self._client.upsert(self._collection, stored, wait=True), IndexWriteFailed)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        if ids:
            selector = models.PointIdsList(points=_texts(ids))
            with_retries(lambda: self._client.delete(self._collection, selector, wait=True), IndexWriteFailed)

    def flush(self) -> None:
        """See `VectorIndex.flush`: a server flushes by itself, within seconds; clients can't request it."""

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        return records.payloads(self._call(self._client.retrieve, _texts(ids), with_payload=True))

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        found = self._call(self._client.retrieve, _texts(ids), with_payload=False, with_vectors=self._whole)
        return records.vectors(found)

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        for page in self._pages(batch, with_payload=True, with_vectors=self._whole):
            yield from records.points(page)

    def scroll_payloads(self, batch: int = 1000) -> Iterator[tuple[uuid.UUID, Payload]]:
        for page in self._pages(batch, with_payload=True):
            yield from records.payloads(page).items()

    def scroll_vectors(self, batch: int = 1000) -> Iterator[tuple[list[uuid.UUID], Vector]]:
        for page in self._pages(batch, with_payload=False, with_vectors=self._whole):
            yield records.matrix(page, self.dimension)

    def sample(self, count: int, *, labelled: bool = False) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.sample`."""
        unlabelled = models.IsEmptyCondition(is_empty=models.PayloadField(key="label"))
        found = self._call(
            self._client.query_points,
            query=models.SampleQuery(sample=models.Sample.RANDOM),
            query_filter=models.Filter(must_not=[unlabelled]) if labelled else None,
            limit=count,
            with_payload=True,
        )
        return records.payloads(found.points)

    def count(self) -> int:
        return self._call(self._client.count, exact=True).count

    def labels(self) -> dict[str, int]:
        return records.labels(self._call(self._client.facet, "label", limit=records.MOST_LABELS, exact=True).hits)

    def optimize(self, cancellation: CancellationToken | None = None) -> bool:
        """See `VectorIndex.optimize`: a server builds its graphs by itself."""
        return False

    def calibration(self) -> CalibrationData | None:
        metadata = self._call(self._client.get_collection).config.metadata or {}
        try:
            return CalibrationData.model_validate_json(metadata[CALIBRATION])
        except (KeyError, ValidationError):
            return None

    def save_calibration(self, data: CalibrationData) -> None:
        """See `VectorIndex.save_calibration`; servers before 1.16 ignore the metadata of a collection."""
        metadata = {CALIBRATION: data.model_dump_json()}
        with_retries(lambda: self._client.update_collection(self._collection, metadata=metadata), IndexWriteFailed)

    def free(self) -> None:
        """See `VectorIndex.free`: the client belongs to the store."""

    def _pages(self, size: int, **request: Any) -> Iterator[list[models.Record]]:
        """Yield all records in the order of the ids; the only page may be empty."""
        offset = None
        while True:
            page, offset = self._call(self._client.scroll, offset=offset, limit=size, **request)
            yield page
            if offset is None:
                return

    def _nearest(
        self, query: Vector, by_look: bool, k: int, filter: Filter, exact: bool, *, candidates: int = 0
    ) -> list[Hit]:
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        params = models.SearchParams(exact=exact, hnsw_ef=max(self.EF, candidates, k), quantization=rescore)
        prefetch = None
        if by_look and not exact:
            vectors = {WHOLE: query.tolist(), LOOK: query[-self.look :].tolist()}
            limit = max(self.CANDIDATES, k)
            prefetch = [
                models.Prefetch(query=part, using=name, params=params, filter=_compiled(filter), limit=limit)
                for name, part in vectors.items()
            ]
            params = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))
        found = self._call(
            self._client.query_points,
            query=query.tolist(),
            using=WHOLE if self.look else None,
            prefetch=prefetch,
            limit=k,
            query_filter=_compiled(filter),
            search_params=params,
            with_payload=True,
        )
        return records.hits(found.points)

    @property
    def _whole(self) -> bool | list[str]:
        """Which vectors of a point to read: the whole one."""
        return [WHOLE] if self.look else True

    def _stored(self, vector: Vector) -> list[float] | dict[str, list[float]]:
        """Return a vector as the collection stores it: the part look is stored a second time, for its own graph."""
        whole: list[float] = vector.tolist()
        return {WHOLE: whole, LOOK: whole[-self.look :]} if self.look else whole

    def _matching(self, filter: Filter) -> int:
        return self._call(self._client.count, _compiled(filter), exact=False).count

    def _call(self, method: Callable[..., Result], *arguments: object, **options: object) -> Result:
        """Call a method of the client on this collection."""
        return with_retries(lambda: method(self._collection, *arguments, **options))

    def _vectors(self, on_disk: bool) -> models.VectorParams | dict[str, models.VectorParams]:
        """Return the parameters of the vectors of a new collection."""

        def params(size: int) -> models.VectorParams:
            return models.VectorParams(size=size, distance=models.Distance.COSINE, on_disk=on_disk)

        return {WHOLE: params(self.dimension), LOOK: params(self.look)} if self.look else params(self.dimension)

    def _create(self, settings: Settings) -> None:
        try:
            self._client.create_collection(
                self._collection,
                vectors_config=self._vectors(settings.qdrant_on_disk),
                shard_number=settings.qdrant_shards,
                replication_factor=settings.qdrant_replicas,
                quantization_config=models.ScalarQuantization(
                    scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
                ),
            )
        except UnexpectedResponse:
            if not self._client.collection_exists(self._collection):
                raise


def _guard(aliases: Mapping[str, str]) -> str | None:
    return min((alias for alias in aliases if alias.startswith(GUARD)), default=None)


def _create(alias: str, model: str) -> models.CreateAliasOperation:
    created = models.CreateAlias(collection_name=PREFIX + model, alias_name=alias)
    return models.CreateAliasOperation(create_alias=created)


def _rename(alias: str, name: str) -> models.RenameAliasOperation:
    return models.RenameAliasOperation(rename_alias=models.RenameAlias(old_alias_name=alias, new_alias_name=name))


def _delete(alias: str) -> models.DeleteAliasOperation:
    return models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))


def _lengths(vectors: models.VectorsConfig | None) -> tuple[int, int]:
    """Return the length of the vectors of a collection, and that of their part look, 0 if it is not stored alone."""
    if isinstance(vectors, dict):
        return vectors[WHOLE].size, vectors[LOOK].size
    return cast(models.VectorParams, vectors).size, 0


def _compiled(filter: Filter) -> models.Filter | None:
    """Return a filter as Qdrant understands it; None matches every point."""
    if not filter:
        return None
    return models.Filter(must=[models.FieldCondition(key="label", match=models.MatchAny(any=list(filter.labels)))])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
