"""The index of a model on a Qdrant server or cluster: the points of one collection."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from qdrant_client import QdrantClient, models

from retrieval.cancellation import CancellationToken
from retrieval.columns.kinds import Kind
from retrieval.errors import BadQuery, IndexWriteFailed
from retrieval.index import records
from retrieval.index.base import MOST_COPIES, Hit, IndexedPhoto, IndexStore, Point, StoredPoints
from retrieval.index.client import Connection, Result
from retrieval.index.conditions import Field, StartsWith
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.filtered_search import Nearest
from retrieval.index.payload import Payload
from retrieval.index.planned_search import OVERSAMPLING, PlannedSearch
from retrieval.index.refusals import RequestTooLarge
from retrieval.index.retries import time_limit
from retrieval.index.server_collections import Collections, lengths, removed_collections
from retrieval.index.server_filter import compiled
from retrieval.index.vectors import LOOK, WHOLE, Vector
from retrieval.photo_ref import Extra

NOTE = "lookalike-"  # before the name of a note in the metadata of a collection
FLOAT_BYTES = 4
FEW = 2  # points that are retrieved rather than found with a filter

Item = TypeVar("Item")


class ServerIndex(PlannedSearch):
    """The index of a model in one collection, which is created if it does not exist; see `Collections.open`."""

    SCANNED_BYTES = 10_000 << 10  # of float32 vectors; up to this size, Qdrant scans them without the graph

    def __init__(
        self,
        store: IndexStore,
        connection: Connection,
        collections: Collections,
        *,
        model: str,
        dimension: int,
        look: int,
    ) -> None:
        super().__init__(store, model, dimension, look)
        self._connection, self._settings, self._collections = connection, connection.settings, collections
        self._collection = collections.name(model)
        self._removed: ServerIndex | None = None
        self.dimension, self.look = lengths(collections.open(model, dimension, look))

    def upsert(self, points: Sequence[Point]) -> None:
        def write(part: Sequence[Point]) -> None:
            stored = [
                models.PointStruct(id=str(point.id), vector=self._stored(point.vector), payload=point.payload.as_dict())
                for point in part
            ]
            self._write(lambda client: client.upsert(self._collection, stored, wait=True, ordering=self._ordering))

        _in_parts(write, points)

    def replace_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        def write(part: Sequence[uuid.UUID]) -> None:
            operations: list[models.UpdateOperation] = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=payloads[photo].as_dict(), filter=_only(photo))
                )
                for photo in part
            ]
            self._write(
                lambda client: client.batch_update_points(
                    self._collection, operations, wait=True, ordering=self._ordering
                )
            )

        _in_parts(write, [*payloads])

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        def write(part: Sequence[uuid.UUID]) -> None:
            selector = models.PointIdsList(points=_texts(part))
            self._write(lambda client: client.delete(self._collection, selector, wait=True, ordering=self._ordering))

        _in_parts(write, ids)

    def upgrade(self) -> None:
        """See `VectorIndex.upgrade`, and `Collections.upgrade`."""
        self._collections.upgrade(self.model)

    def index_fields(self, fields: Mapping[str, Kind]) -> None:
        self._collections.index_fields(self.model, fields)

    def slowed_by(self) -> str | None:
        return self._connection.slowed_by()

    def search_time_limit(self) -> AbstractContextManager[None]:
        return time_limit(self._settings.search_timeout_seconds)

    def flush(self) -> None:
        """See `VectorIndex.flush`: a server flushes by itself, within seconds; clients can't request it."""

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        return records.payloads(self._retrieved(ids, with_payload=True))

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        return records.vectors(self._retrieved(ids, with_payload=False, with_vectors=self._whole))

    def with_content(self, sha256s: Sequence[str]) -> dict[uuid.UUID, Payload]:
        return self._with("sha256", sha256s)

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        for page in self._pages(batch, with_payload=True, with_vectors=self._whole):
            yield from records.points(page)

    def scroll_stored(self, batch: int = 1000) -> Iterator[StoredPoints]:
        for page in self._pages(batch, with_payload=True, with_vectors=self._whole):
            yield records.stored(page, self.dimension)

    def scroll_payloads(
        self, batch: int = 1000, filter: Filter = NO_FILTER, start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        self._require_support(filter)
        for page in self._pages(batch, start, with_payload=True, scroll_filter=compiled(filter)):
            yield from records.payloads(page).items()

    def scroll_extra(self, batch: int = 1000) -> Iterator[Extra]:
        for page in self._pages(batch, with_payload=["extra"]):
            yield from records.extra(page)

    def ordered(
        self, field: Field, count: int, filter: Filter = NO_FILTER, *, descending: bool = False
    ) -> dict[uuid.UUID, Payload]:
        self._require_support(filter)
        order = models.OrderBy(key=field.key, direction=models.Direction.DESC if descending else models.Direction.ASC)
        page, _ = self._request(
            lambda client: client.scroll(
                self._collection,
                compiled(filter),
                limit=count,
                order_by=order,
                with_payload=True,
                consistency=self._consistency,
            )
        )
        return records.payloads(page)

    def scroll_vectors(self, batch: int = 1000) -> Iterator[tuple[list[uuid.UUID], Vector]]:
        for page in self._pages(batch, with_payload=False, with_vectors=self._whole):
            yield records.matrix(page, self.dimension)

    def sample(self, count: int, *, labelled: bool = False) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.sample`."""
        unlabelled = models.IsEmptyCondition(is_empty=models.PayloadField(key="label"))
        request = models.SampleQuery(sample=models.Sample.RANDOM)
        filter = models.Filter(must_not=[unlabelled]) if labelled else None
        found = self._request(
            lambda client: client.query_points(
                self._collection, request, query_filter=filter, limit=count, with_payload=True
            )
        )
        return records.payloads(found.points)

    def count(self, *, exact: bool = True) -> int:
        return self._request(lambda client: client.count(self._collection, exact=exact)).count

    def labels(self, *, exact: bool = True) -> dict[str, int]:
        def ask(client: QdrantClient) -> models.FacetResponse:
            return client.facet(self._collection, "label", limit=records.MOST_LABELS, exact=exact)

        return records.labels(self._request(ask).hits)

    def counts(self, field: Field, most: int) -> dict[str, int]:
        def ask(client: QdrantClient) -> models.FacetResponse:
            return client.facet(self._collection, field.key, limit=most)

        return records.labels(self._request(ask).hits)

    def optimize(self, cancellation: CancellationToken | None = None) -> bool:
        """See `VectorIndex.optimize`: a server builds its graphs by itself."""
        return False

    def has_removed(self) -> bool:
        name = removed_collections(self._connection).name(self.model)
        return self._removed is not None or self._request(lambda client: client.collection_exists(name))

    def removed(self) -> "ServerIndex":
        """See `VectorIndex.removed`: a collection beside that of this index."""
        if self._removed is None:
            collections = removed_collections(self._connection)
            self._removed = ServerIndex(
                self._store,
                self._connection,
                collections,
                model=self.model,
                dimension=self.dimension,
                look=self.look,
            )
        return self._removed

    def note(self, name: str) -> str | None:
        metadata = self._request(lambda client: client.get_collection(self._collection)).config.metadata or {}
        return metadata.get(NOTE + name)

    def save_note(self, name: str, text: str) -> None:
        self._write(lambda client: client.update_collection(self._collection, metadata={NOTE + name: text}))

    def free(self) -> None:
        """See `VectorIndex.free`: the client belongs to the store."""

    def _otherwise_named(self, uris: Sequence[str]) -> dict[str, IndexedPhoto]:
        wanted = frozenset(uris)
        found = self._with("also_at", uris) | self._with("uri", uris)
        photos = [IndexedPhoto(photo, payload) for photo, payload in found.items()]
        return {uri: photo for photo in photos for uri in (*photo.payload.also_at, photo.payload.uri) if uri in wanted}

    def _with(self, field: str, values: Sequence[str]) -> dict[uuid.UUID, Payload]:
        """Return the points with one of these values in a field."""
        if not values:
            return {}
        named = models.Filter(must=[models.FieldCondition(key=field, match=models.MatchAny(any=list(values)))])
        page, _ = self._request(
            lambda client: client.scroll(
                self._collection,
                named,
                limit=MOST_COPIES * len(values),
                with_payload=True,
                consistency=self._consistency,
            )
        )
        return records.payloads(page)

    def _pages(self, size: int, start: uuid.UUID | None = None, **request: Any) -> Iterator[list[models.Record]]:
        """Yield the records from an id on, in the order of the ids; the only page may be empty."""
        offset: models.ExtendedPointId | None = None if start is None else str(start)

        def read(client: QdrantClient) -> tuple[list[models.Record], Any]:
            return client.scroll(
                self._collection,
                offset=offset,
                limit=size,
                consistency=self._consistency,
                **request,
            )

        while True:
            page, offset = self._request(read)
            yield page
            if offset is None:
                return

    def _retrieved(self, ids: Sequence[uuid.UUID], **request: Any) -> list[models.Record]:
        """Read points by their ids.

        A rate limit counts each point that is retrieved; a scroll with a filter counts as two, however many it finds.
        """
        if not ids:
            return []
        texts, of_request = _texts(ids), request | {"consistency": self._consistency}
        if len(ids) <= FEW:
            return self._request(lambda client: client.retrieve(self._collection, texts, **of_request))
        named = models.Filter(must=[models.HasIdCondition(has_id=texts)])
        return self._request(lambda client: client.scroll(self._collection, named, limit=len(ids), **of_request))[0]

    def search(
        self, vector: Vector, k: int, filter: Filter = NO_FILTER, *, exact: bool = False, by_look: bool = False
    ) -> list[Hit]:
        """See `VectorIndex.search`; raises `BadQuery` if the server is too old for the filter."""
        self._require_support(filter)
        return super().search(vector, k, filter, exact=exact, by_look=by_look)

    def _filtered(self, nearest: Nearest, k: int, filter: Filter) -> list[Hit]:
        """See `PlannedSearch`: a count, which takes a millisecond, and one search.

        - Few points: the server compares the query with the quantized vectors of all of them, and rescores the best.
        - More, if their float32 vectors are in memory: it compares the query with these.
        - Many: it traverses the graph and also considers the neighbours of points that the filter does not match
          (ACORN, Patel et al. 2024, arXiv:2403.04871). Without that, and with fewer candidates, it misses points if the
          neighbours of the query do not match: recall@10 0.70 for a filter that keeps 27 % of a million points, and
          0.99 with both.
        """
        matching = self.matching(filter)
        if matching * self.dimension * FLOAT_BYTES <= self.SCANNED_BYTES:
            return nearest(k, filter, False)
        if matching <= self.FULL_SCAN_POINTS and not self._settings.qdrant_on_disk:
            return nearest(k, filter, True)
        return nearest(k, filter, False, candidates=max(self.FILTERED_EF, self.CANDIDATES_PER_RESULT * k))

    def _nearest(
        self, query: Vector, by_look: bool, k: int, filter: Filter, exact: bool, *, candidates: int = 0
    ) -> list[Hit]:
        rescore = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        # Without `max_selectivity`, Qdrant uses ACORN only for filters that keep less than 40 %.
        acorn = models.AcornSearchParams(enable=True, max_selectivity=1.0) if candidates >= self.FILTERED_EF else None
        params = models.SearchParams(
            exact=exact, hnsw_ef=max(self.EF, candidates, k), quantization=rescore, acorn=acorn if filter else None
        )
        prefetch = None
        if by_look and not exact:
            vectors = {WHOLE: query.tolist(), LOOK: query[-self.look :].tolist()}
            limit = max(self.CANDIDATES, k)
            prefetch = [
                models.Prefetch(query=part, using=name, params=params, filter=compiled(filter), limit=limit)
                for name, part in vectors.items()
            ]
            params = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))
        found = self._request(
            lambda client: client.query_points(
                self._collection,
                query.tolist(),
                using=WHOLE if self.look else None,
                prefetch=prefetch,
                limit=k,
                query_filter=compiled(filter),
                search_params=params,
                with_payload=True,
                consistency=self._consistency,
            )
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

    def matching(self, filter: Filter, *, exact: bool = False) -> int:
        self._require_support(filter)
        return self._request(lambda client: client.count(self._collection, compiled(filter), exact=exact)).count

    def _require_support(self, filter: Filter) -> None:
        """Raise `BadQuery` if the server is too old for a filter."""
        if any(isinstance(one, StartsWith) for one in filter.parts()) and not self._collections.finds_prefixes():
            raise BadQuery(
                "The Qdrant server is too old for a filter by the beginning of a text.", "Upgrade it to 1.19 or later."
            )

    @property
    def _ordering(self) -> models.WriteOrdering:
        return models.WriteOrdering(self._settings.qdrant_write_ordering)

    @property
    def _consistency(self) -> models.ReadConsistency | None:
        chosen = self._settings.qdrant_read_consistency
        return models.ReadConsistencyType(chosen) if isinstance(chosen, str) else chosen

    def _request(self, ask: Callable[[QdrantClient], Result]) -> Result:
        return self._connection.request(ask)

    def _write(self, ask: Callable[[QdrantClient], object]) -> None:
        self._connection.request(ask, IndexWriteFailed)


def _in_parts(write: Callable[[Sequence[Item]], None], items: Sequence[Item]) -> None:
    """Write items, in halves if the server's rate limit refuses so many at once."""
    if not items:
        return
    try:
        write(items)
    except RequestTooLarge:
        if len(items) == 1:
            raise
        middle = len(items) // 2
        _in_parts(write, items[:middle])
        _in_parts(write, items[middle:])


def _only(photo: uuid.UUID) -> models.Filter:
    """Return a filter for one point, which need not exist: Qdrant refuses to change one that is named and missing."""
    return models.Filter(must=[models.HasIdCondition(has_id=[str(photo)])])


def _texts(ids: Sequence[uuid.UUID]) -> list[str | int | uuid.UUID]:
    return [str(point) for point in ids]
