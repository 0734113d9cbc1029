"""The collections of an installation on a Qdrant server: their names, layout, and which of them are ours.

A collection is marked in its metadata by who made it. Collections of version 0.1 have no metadata; a job adds it.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from qdrant_client import QdrantClient
from qdrant_client import models as qdrant
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.columns.kinds import Kind
from retrieval.errors import IndexMismatch, IndexWriteFailed, LookalikeError
from retrieval.index.client import Connection, numbers
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.index.payload import ON_DISK as DISK_FIELDS
from retrieval.index.server_filter import payload_index
from retrieval.index.vectors import LOOK, WHOLE
from retrieval.settings import DEFAULT_QDRANT_PREFIX

MAKER = "lookalike"
SCHEMA = 1  # of payload and vectors
REMOVED = ".removed"  # the kind of the collections of removed points
LOOKED_UP = ("also_at", "sha256")  # fields by which single photos are found, like `uri`
FINDS_PREFIXES = (1, 19)  # the first version that finds texts by their beginning
ON_DISK = qdrant.KeywordIndexParams(type=qdrant.KeywordIndexType.KEYWORD, on_disk=True)

log = logging.getLogger("lookalike")


class _NotUpgraded(LookalikeError):
    """The server refuses to change a collection."""


class Collections:
    """The collections `PREFIX-<model id>` of a server, as `LOOKALIKE_QDRANT_PREFIX` and the other settings say.

    `kind` makes them `PREFIX<kind>-<model id>`.
    """

    def __init__(self, connection: Connection, kind: str = "") -> None:
        self.prefix = connection.settings.qdrant_prefix
        self._start = f"{self.prefix}{kind}-"
        self._connection, self._settings = connection, connection.settings
        self._known: set[str] = set()  # the names of collections that are ours
        self._finds_prefixes: bool | None = None  # None: the server was not asked yet

    def name(self, model: str) -> str:
        """Return the name of a model's collection."""
        return f"{self._start}{model}"

    def model(self, collection: str) -> str:
        """Return the model of a collection."""
        return collection.removeprefix(self._start)

    def names(self) -> list[str]:
        """Return the names of all collections, also of those that are not ours."""
        return [found.name for found in self._connection.request(lambda client: client.get_collections()).collections]

    def models(self) -> list[str]:
        """Return the models that have a collection of ours, sorted by name."""
        return sorted(self.model(name) for name in self.names() if self.is_ours(name))

    def is_ours(self, name: str) -> bool:
        """Whether a collection was made by this installation; one that does not exist was not."""
        may_be = name not in self._known and name.startswith(self._start)
        if may_be and (info := self._info(name)) and self._owns(info):
            self._known.add(name)
        return name in self._known

    def forget(self, name: str) -> None:
        """Examine a collection again when it is next needed."""
        self._known.discard(name)

    def open(self, model: str, dimension: int, look: int) -> qdrant.CollectionInfo:
        """Return the description of a model's collection, which is created if it does not exist.

        Several clients may create it at the same time.
        Raises `IndexMismatch` if a collection of this name was made by something else.
        """
        name = self.name(model)
        info = self._info(name)
        if info is None:
            self._connection.request(lambda client: self._create(client, model, dimension, look))
            self.index_fields(model, INDEXED_FIELDS, {})
            info = cast(qdrant.CollectionInfo, self._info(name))
        self.require_ours(name, info)
        return info

    def require_ours(self, name: str, info: qdrant.CollectionInfo | None) -> None:
        """Raise `IndexMismatch` if an existing collection was made by something else."""
        if info is not None and not self._owns(info):
            raise IndexMismatch(
                f"The collection {name} of the Qdrant server was not made by this installation of Lookalike, and is "
                "left alone.",
                "Use another prefix (LOOKALIKE_QDRANT_PREFIX), or rename or delete that collection.",
            )

    def require_ours_now(self, model: str) -> None:
        """Raise `IndexMismatch` if a model's collection was made by something else, as the server describes it now."""
        self.forget(name := self.name(model))
        self.require_ours(name, self._info(name))

    def upgrade(self, model: str) -> None:
        """Bring a collection up to date with the settings and this version.

        Metadata and payload indexes that are missing are added. Qdrant rebuilds graphs of other parameters in the
        background, while searches continue. A key with access to single collections may not change their parameters:
        then there is a warning.
        """
        name = self.name(model)
        info = self._info(name)
        if info is None:
            return
        changes = self._changes(model, info)
        try:
            if changes:
                self._connection.request(lambda client: client.update_collection(name, **changes), _NotUpgraded)
            self.index_fields(model, INDEXED_FIELDS, info.payload_schema, _NotUpgraded)
        except _NotUpgraded as error:
            log.warning("The collection %s can be used, but not brought up to date: %s", name, error)

    def _changes(self, model: str, info: qdrant.CollectionInfo) -> dict[str, Any]:
        """Return what the settings have changed since a collection was created, as arguments for an update."""
        changes: dict[str, Any] = {}
        hnsw, wanted = info.config.hnsw_config, self._graph()
        if (hnsw.m, hnsw.ef_construct) != (wanted.m, wanted.ef_construct):
            changes["hnsw_config"] = wanted
        if info.config.params.write_consistency_factor not in (None, self._settings.qdrant_write_consistency):
            factor = self._settings.qdrant_write_consistency
            changes["collection_params"] = qdrant.CollectionParamsDiff(write_consistency_factor=factor)
        metadata = self._metadata(model)
        if any((info.config.metadata or {}).get(key) != value for key, value in metadata.items()):
            changes["metadata"] = metadata
        return changes

    def _owns(self, info: qdrant.CollectionInfo) -> bool:
        metadata = info.config.metadata or {}
        if "made_by" in metadata:
            return (metadata["made_by"], metadata.get("prefix", DEFAULT_QDRANT_PREFIX)) == (MAKER, self.prefix)
        is_of_first_version = isinstance(info.config.params.vectors, qdrant.VectorParams) and "label" in (
            info.payload_schema or {}
        )
        return self.prefix == DEFAULT_QDRANT_PREFIX and is_of_first_version

    def _info(self, name: str) -> qdrant.CollectionInfo | None:
        def read(client: QdrantClient) -> qdrant.CollectionInfo | None:
            return client.get_collection(name) if client.collection_exists(name) else None

        return self._connection.request(read)

    def _metadata(self, model: str) -> dict[str, Any]:
        return {"made_by": MAKER, "prefix": self.prefix, "model": model, "schema": SCHEMA}

    def _graph(self) -> qdrant.HnswConfigDiff:
        return qdrant.HnswConfigDiff(
            m=self._settings.qdrant_hnsw_m, ef_construct=self._settings.qdrant_hnsw_ef_construct
        )

    def _create(self, client: QdrantClient, model: str, dimension: int, look: int) -> None:
        settings = self._settings

        def params(size: int) -> qdrant.VectorParams:
            return qdrant.VectorParams(size=size, distance=qdrant.Distance.COSINE, on_disk=settings.qdrant_on_disk)

        try:
            client.create_collection(
                self.name(model),
                vectors_config={WHOLE: params(dimension), LOOK: params(look)} if look else params(dimension),
                shard_number=settings.qdrant_shards,
                replication_factor=settings.qdrant_replicas,
                write_consistency_factor=settings.qdrant_write_consistency,
                hnsw_config=self._graph(),
                quantization_config=qdrant.ScalarQuantization(
                    scalar=qdrant.ScalarQuantizationConfig(type=qdrant.ScalarType.INT8, always_ram=True)
                ),
                metadata=self._metadata(model),
            )
        except UnexpectedResponse:
            if not client.collection_exists(self.name(model)):
                raise

    def index_fields(
        self,
        model: str,
        fields: Mapping[str, Kind],
        existing: Mapping[str, qdrant.PayloadIndexInfo] | None = None,
        failure: type[LookalikeError] = IndexWriteFailed,
    ) -> None:
        """Create the payload indexes that are missing: before the first point is written, as Qdrant recommends.

        See https://qdrant.tech/documentation/concepts/indexing/.

        Args:
            fields: further ones than those by which single photos are found.
            existing: the payload indexes that exist; None to ask the server.
            failure: what is raised if the server refuses.
        """
        name, prefix = self.name(model), self.finds_prefixes()
        if existing is None:
            info = self._info(name)
            existing = info.payload_schema if info else {}
        wanted = {field: payload_index(field, kind, prefix=prefix) for field, kind in fields.items()}
        wanted |= dict.fromkeys(LOOKED_UP, ON_DISK)
        for field, schema in wanted.items():
            if field not in existing or (prefix and field in DISK_FIELDS and not _has_prefix(existing[field])):
                self._connection.request(partial(_create_index, name=name, field=field, schema=schema), failure)

    def finds_prefixes(self) -> bool:
        """Whether the server finds texts by their beginning."""
        if self._finds_prefixes is None:
            found = self._connection.request(lambda client: client.info()).version
            self._finds_prefixes = numbers(found) >= FINDS_PREFIXES
        return self._finds_prefixes


def removed_collections(connection: Connection) -> Collections:
    """Return the collections of the points that were removed from the index of each model."""
    return Collections(connection, REMOVED)


def _create_index(client: QdrantClient, name: str, field: str, schema: Any) -> None:
    client.create_payload_index(name, field, schema)


def _has_prefix(index: qdrant.PayloadIndexInfo) -> bool:
    """Whether texts of the index are found by their beginning."""
    return bool(getattr(index.params, "prefix", None))


def lengths(info: qdrant.CollectionInfo) -> tuple[int, int]:
    """Return the length of the vectors of a collection, and that of their part look, 0 if it is not stored alone."""
    vectors = info.config.params.vectors
    if isinstance(vectors, dict):
        return vectors[WHOLE].size, vectors[LOOK].size
    return cast(qdrant.VectorParams, vectors).size, 0
