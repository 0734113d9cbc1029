"""The index on a Qdrant server or cluster: one collection a model, an alias for the one that serves."""

import ssl
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from retrieval.errors import IndexMismatch, IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.index.base import (
    Hit,
    IndexStore,
    Payload,
    Point,
    Vector,
    VectorIndex,
    as_uuid,
    clip_score,
    no_index,
    removable,
)
from retrieval.settings import Settings

PREFIX = "lookalike-"
CURRENT = "lookalike"
PREVIOUS = "lookalike-previous"
OVERSAMPLING = 3.0  # with int8 vectors and rescoring, this finds what the full vectors find (recall 0.999)
MOST_LABELS = 1_000_000
PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
BUSY = (429, 502, 503, 504)
REFUSED_KEY = (401, 403)
FULL = 507

Result = TypeVar("Result")


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
        guard: held round each call on an index; the client of a server needs none, the one in memory needs a lock.
        layout: how new collections lie on the server.
    """

    def __init__(
        self, client: QdrantClient, guard: AbstractContextManager[object] | None = None, layout: Layout = DEFAULT_LAYOUT
    ) -> None:
        self._client = client
        self._guard = guard or nullcontext()
        self._layout = layout

    @classmethod
    def connect(cls, settings: Settings) -> "ServerStore":
        """The store on the settings' server, once it is ready.

        Raises:
            IndexUnreachable: it is not, or it is not there.
            LookalikeError: the file of its certificate authority can't be used.
        """
        key = settings.qdrant_api_key
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # docs/operations.md says it
        client = QdrantClient(
            url=settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            timeout=settings.qdrant_timeout_seconds,
            check_compatibility=False,
            verify=_trusted(settings.qdrant_ca),
        )
        _ask(lambda: _ready(client))
        layout = Layout(settings.qdrant_shards, settings.qdrant_replicas, settings.qdrant_on_disk)
        return cls(client, layout=layout)

    def open(self, model: str, dimension: int) -> "ServerIndex":
        """See `IndexStore.open`."""
        return _ask(lambda: ServerIndex(self._client, model, dimension, self._guard, self._layout))

    def models(self) -> list[str]:
        """See `IndexStore.models`."""
        collections = _ask(self._client.get_collections).collections
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
        _ask(lambda: self._client.update_collection_aliases(moves))

    def remove(self, model: str) -> None:
        """See `IndexStore.remove`."""
        removable(self, model)
        _ask(lambda: self._client.delete_collection(PREFIX + model))

    def _aliased(self, alias: str) -> str | None:
        for entry in _ask(self._client.get_aliases).aliases:
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
        client: QdrantClient,
        model: str,
        dimension: int,
        guard: AbstractContextManager[object],
        layout: Layout = DEFAULT_LAYOUT,
    ) -> None:
        self.model = model
        self.dimension = dimension
        self._client = client
        self._collection = PREFIX + model
        self._guard = guard
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
            self._call(lambda: self._client.upsert(self._collection, stored, wait=True), IndexWriteFailed)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        """See `VectorIndex.delete`."""
        if ids:
            selector = models.PointIdsList(points=_texts(ids))
            self._call(lambda: self._client.delete(self._collection, selector, wait=True), IndexWriteFailed)

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

    def _nearest(self, query: Vector, k: int, labels: Sequence[str], exact: bool) -> list[Hit]:
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        answer = self._call(
            lambda: self._client.query_points(
                self._collection,
                query=query.tolist(),
                limit=k,
                query_filter=_label_filter(labels),
                search_params=models.SearchParams(exact=exact, hnsw_ef=max(self.CANDIDATES, k), quantization=rescore),
                with_payload=True,
            )
        )
        return [Hit(as_uuid(hit.id), clip_score(hit.score), Payload.from_dict(hit.payload)) for hit in answer.points]

    def _carrying(self, labels: Sequence[str]) -> int:
        counted = self._call(
            lambda: self._client.count(self._collection, count_filter=_label_filter(labels), exact=False)
        )
        return counted.count

    def _page(self, offset: Any, batch: int) -> tuple[list[models.Record], Any]:
        return self._call(
            lambda: self._client.scroll(
                self._collection, offset=offset, limit=batch, with_payload=True, with_vectors=True
            )
        )

    def _call(self, request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
        with self._guard:
            return _ask(request, failure)

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
            raise IndexMismatch(
                f"The collection {self._collection} holds vectors of {size} numbers, "
                f"and the model {self.model} makes {self.dimension}.",
                "Index the photos again with this model, or use the bundle that the index was made with.",
            )


def _ask(
    request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError, pauses: Sequence[float] | None = None
) -> Result:
    """The answer of the server; asked again, after each of the pauses, where it is busy, starting or away.

    Asking twice changes nothing: a point that is written or removed twice is written or removed once.

    Raises:
        IndexUnreachable: it does not answer, or not now.
        IndexWriteFailed: its disk is full.
        LookalikeError: it refuses; as `failure`.
    """
    pauses = PAUSES_SECONDS if pauses is None else pauses
    try:
        return request()
    except (ApiException, QdrantException, JSONDecodeError) as error:
        if not pauses or not _passes(error):
            raise _sentence(error, failure) from None
    time.sleep(pauses[0])
    return _ask(request, failure, pauses[1:])


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError) and not isinstance(error.source, httpx.TimeoutException)
    return isinstance(error, QdrantException) or _status(error) in BUSY


def _sentence(error: Exception, failure: type[LookalikeError]) -> LookalikeError:
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(cause, httpx.TimeoutException):
        return IndexUnreachable(
            "Qdrant did not answer in time.",
            "Look at its load and its log, or give it longer with LOOKALIKE_QDRANT_TIMEOUT_SECONDS.",
        )
    if isinstance(cause, httpx.TransportError):
        return IndexUnreachable(
            f"Qdrant can't be reached ({cause}).", "Check LOOKALIKE_QDRANT_URL, and that the server runs."
        )
    if isinstance(cause, QdrantException) or _status(cause) in BUSY:
        return IndexUnreachable(f"Qdrant is busy or starting ({_reason(cause)}).", "Try again in a moment.")
    return _refusal(cause, failure)


def _refusal(cause: Exception, failure: type[LookalikeError]) -> LookalikeError:
    if _status(cause) in REFUSED_KEY:
        return failure(f"Qdrant refuses the key ({_reason(cause)}).", "Correct LOOKALIKE_QDRANT_API_KEY.")
    if _status(cause) == FULL:
        return IndexWriteFailed(
            f"The Qdrant server has no room left ({_reason(cause)}).",
            "What is indexed is kept. Make room there, then run the same command again.",
        )
    if isinstance(cause, UnexpectedResponse):
        return failure(f"Qdrant refused ({_reason(cause)}).", "The server's log says more.")
    return failure("What answers at LOOKALIKE_QDRANT_URL is no Qdrant server.", "Correct it.")


def _status(error: Exception) -> int | None:
    return error.status_code if isinstance(error, UnexpectedResponse) else None


def _reason(error: Exception) -> str:
    """What the server said, or its status where it said nothing."""
    if not isinstance(error, UnexpectedResponse):
        return str(error)
    with suppress(ValueError, LookupError, TypeError):
        return f"status {error.status_code}: {error.structured()['status']['error']}"
    return f"status {error.status_code} {error.reason_phrase}".strip()


def _ready(client: QdrantClient) -> None:
    with suppress(JSONDecodeError):  # it says so in plain words, which the client takes for damaged JSON
        client.http.service_api.readyz()


def _trusted(authority: Path | None) -> ssl.SSLContext | bool:
    """What makes a server trusted: the given certificate authority, or those of the system."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # SSLError is one
        raise LookalikeError(
            f"The certificate authority {authority} can't be used ({error.strerror or error}).",
            "Point LOOKALIKE_QDRANT_CA to a PEM file.",
        ) from None


def _label_filter(labels: Sequence[str]) -> models.Filter | None:
    if not labels:
        return None
    return models.Filter(must=[models.FieldCondition(key="label", match=models.MatchAny(any=list(labels)))])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
