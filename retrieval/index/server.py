"""The index on a Qdrant server or cluster: one collection a model, an alias for the one that serves."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, cast

import numpy as np
from pydantic import SecretStr
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from retrieval.errors import IndexMismatch, IndexUnreachable, IndexWriteFailed, LookalikeError
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

PREFIX = "lookalike-"
CURRENT = "lookalike"
PREVIOUS = "lookalike-previous"
TIMEOUT_SECONDS = 30
MOST_LABELS = 1_000_000

Result = TypeVar("Result")


class ServerStore(IndexStore):
    """The collections `lookalike-<model id>` of a server; the alias `lookalike` names the one that serves.

    Args:
        client: a connected client, or `QdrantClient(":memory:")`.
        guard: held round each call on an index; the client of a server needs none, the one in memory needs a lock.
    """

    def __init__(self, client: QdrantClient, guard: AbstractContextManager[object] | None = None) -> None:
        self._client = client
        self._guard = guard or nullcontext()

    @classmethod
    def connect(cls, url: str, api_key: SecretStr | None) -> "ServerStore":
        """The store on the server at a URL."""
        key = api_key.get_secret_value() if api_key else None
        return cls(QdrantClient(url=url, api_key=key, timeout=TIMEOUT_SECONDS, check_compatibility=False))

    def open(self, model: str, dimension: int) -> "ServerIndex":
        """See `IndexStore.open`."""
        return _errors_as_sentences(lambda: ServerIndex(self._client, model, dimension, self._guard))

    def models(self) -> list[str]:
        """See `IndexStore.models`."""
        collections = _errors_as_sentences(self._client.get_collections).collections
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
        _errors_as_sentences(lambda: self._client.update_collection_aliases(moves))

    def remove(self, model: str) -> None:
        """See `IndexStore.remove`."""
        removable(self, model)
        _errors_as_sentences(lambda: self._client.delete_collection(PREFIX + model))

    def _aliased(self, alias: str) -> str | None:
        for entry in _errors_as_sentences(self._client.get_aliases).aliases:
            if entry.alias_name == alias:
                return entry.collection_name.removeprefix(PREFIX)
        return None


class ServerIndex(VectorIndex):
    """One collection, made where there is none, whoever else makes it at the same moment.

    The payload index on `label` is there before anybody writes a point, so that the graph knows the filter
    (https://qdrant.tech/documentation/concepts/indexing/).
    """

    def __init__(self, client: QdrantClient, model: str, dimension: int, guard: AbstractContextManager[object]) -> None:
        self.model = model
        self.dimension = dimension
        self._client = client
        self._collection = PREFIX + model
        self._guard = guard
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
            self._call(lambda: self._client.upsert(self._collection, stored, wait=True), IndexWriteFailed)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            selector = models.PointIdsList(points=_texts(ids))
            self._call(lambda: self._client.delete(self._collection, selector, wait=True), IndexWriteFailed)

    def search(self, vector: Vector, k: int, *, labels: Sequence[str] = (), exact: bool = False) -> list[Hit]:
        """See `VectorIndex.search`."""
        query = check_query(vector, self.dimension)
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=3.0)
        answer = self._call(
            lambda: self._client.query_points(
                self._collection,
                query=query.tolist(),
                limit=k,
                query_filter=_label_filter(labels),
                search_params=models.SearchParams(exact=exact, quantization=rescore),
                with_payload=True,
            )
        )
        return [Hit(as_uuid(hit.id), clip_score(hit.score), Payload.from_dict(hit.payload)) for hit in answer.points]

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.get`."""
        records = self._call(lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=True))
        return {as_uuid(record.id): Payload.from_dict(record.payload) for record in records}

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """See `VectorIndex.vectors`."""
        records = self._call(
            lambda: self._client.retrieve(self._collection, _texts(ids), with_payload=False, with_vectors=True)
        )
        return {as_uuid(record.id): np.asarray(record.vector, np.float32) for record in records}

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        """See `VectorIndex.scroll`."""
        offset = None
        while True:
            page = self._page(offset, batch)
            for record in page[0]:
                yield Point(
                    as_uuid(record.id), np.asarray(record.vector, np.float32), Payload.from_dict(record.payload)
                )
            offset = page[1]
            if offset is None:
                return

    def count(self) -> int:
        """See `VectorIndex.count`."""
        return self._call(lambda: self._client.count(self._collection, exact=True)).count

    def labels(self) -> dict[str, int]:
        """See `VectorIndex.labels`."""
        answer = self._call(lambda: self._client.facet(self._collection, "label", limit=MOST_LABELS, exact=True))
        counts = ((str(hit.value), hit.count) for hit in answer.hits)
        return dict(sorted(counts, key=lambda pair: (-pair[1], pair[0])))

    def optimize(self, stop: threading.Event | None = None) -> bool:
        """See `VectorIndex.optimize`: the server builds its graphs by itself."""
        return False

    def close(self) -> None:
        """See `VectorIndex.close`: the server keeps the collection."""

    def _page(self, offset: Any, batch: int) -> tuple[list[models.Record], Any]:
        return self._call(
            lambda: self._client.scroll(
                self._collection, offset=offset, limit=batch, with_payload=True, with_vectors=True
            )
        )

    def _call(self, request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
        with self._guard:
            return _errors_as_sentences(request, failure)

    def _create(self) -> None:
        try:
            self._client.create_collection(
                self._collection,
                vectors_config=models.VectorParams(size=self.dimension, distance=models.Distance.COSINE),
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
            raise IndexMismatch(
                f"The collection {self._collection} holds vectors of {size} numbers, "
                f"and the model {self.model} makes {self.dimension}.",
                "Index the photos again with this model, or use the bundle that the index was made with.",
            )


def _errors_as_sentences(request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
    """The answer of the server; a sentence where it refuses or can't be reached."""
    try:
        return request()
    except UnexpectedResponse as error:
        raise failure(
            f"Qdrant refused with status {error.status_code} ({error.reason_phrase}).",
            "Check LOOKALIKE_QDRANT_API_KEY and the server's log.",
        ) from None
    except ResponseHandlingException as error:
        raise IndexUnreachable(
            f"Qdrant can't be reached ({error.source}).", "Check LOOKALIKE_QDRANT_URL, and that the server runs."
        ) from None


def _label_filter(labels: Sequence[str]) -> models.Filter | None:
    if not labels:
        return None
    return models.Filter(must=[models.FieldCondition(key="label", match=models.MatchAny(any=list(labels)))])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
