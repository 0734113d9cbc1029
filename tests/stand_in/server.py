"""The server: its collections, aliases and keys, and which request goes to what."""

import json
import re
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

from stand_in.answers import Answer, Refusal, not_found, wrong_input
from stand_in.bodies import check_sizes, is_id, parsed
from stand_in.collection import Collection

VERSION = {"title": "qdrant - vector search engine", "version": version("qdrant-client"), "commit": "0" * 40}
NAME = r"/collections/([^/]+)"
OPEN = ("/", "/readyz", "/livez", "/healthz")  # paths that need no key
FULL = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
DOWN = (
    "Service internal error: Tonic status error: code: 'The service is currently unavailable', message: "
    '"tcp connect error", source: tonic::transport::Error(Transport, ConnectError(ConnectError("tcp connect error", '
    '127.0.0.1:8325, Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })))'
)
READING = ("retrieve", "query", "batch", "groups", "scroll", "count", "facet", "point")

Body = Any
Handler = Callable[..., Any]


class StandIn:
    """A server whose state tests can change while it runs.

    Args:
        folder: keeps the collections on disk; None to keep them in memory.
        keys: the API key, and the read-only key; None if requests need no key.
    """

    def __init__(self, folder: Path | None = None, keys: tuple[str, str] | None = None) -> None:
        self.keys = keys
        self.version = VERSION["version"]
        self.ready = True
        self.disk_full = False
        self.node_down = False  # a node with the only copy of some shards
        self.asked: list[tuple[str, str]] = []  # method and path of each request
        self._folder = folder
        self._client = QdrantClient(path=str(folder)) if folder else QdrantClient(":memory:")
        self._lock = threading.Lock()
        self._collections: dict[str, Collection] = {}
        self._aliases: dict[str, str] = {}
        self._load()

    def answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Answer a request; `headers` have names in lower case."""
        path, _, query = url.partition("?")
        self.asked.append((method, path))
        try:
            if path in OPEN:
                return self._open_path(path)
            read_only = self._authorize(headers)
            with self._lock:
                return self._routed(method, unquote(path), parse_qs(query), body, read_only)
        except Refusal as refusal:
            return refusal.answer
        except _Plain as plain:
            return Answer.plain(*plain.args)

    def spent(self, collection: str) -> dict[str, int]:
        """The reads and writes of a collection that were accepted since its limits were set."""
        return self._collections[collection].strict.spent

    def close(self) -> None:
        """Release the folder."""
        self._client.close()

    def _open_path(self, path: str) -> Answer:
        if path == "/":
            content = VERSION | {"version": self.version}
            return Answer(200, content, {"Content-Type": "application/json"})
        status, text = (200, "all shards are ready") if self.ready else (503, "some shards are not ready")
        return Answer(status, text, {"Content-Type": "text/plain; charset=utf-8"})

    def _authorize(self, headers: dict[str, str]) -> bool:
        """Whether the key only reads."""
        if self.keys is None:
            return False
        key = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            raise _Plain(401, "Must provide an API key or an Authorization bearer token")
        if key not in self.keys:
            raise _Plain(401, "Invalid API key or JWT")
        return key == self.keys[1]

    def _routed(self, method: str, path: str, query: dict[str, list[str]], body: bytes, read_only: bool) -> Answer:
        for (verb, pattern), (kind, handler) in ROUTES.items():
            if verb == method and (found := re.fullmatch(pattern, path)):
                what = handler.__name__.lstrip("_")
                if read_only and method != "GET" and what not in READING:
                    raise Refusal(403, "Forbidden: Global manage access is required")
                request = [parsed(kind, body)] if kind else []
                if kind is models.CreateCollection:
                    check_sizes(body)
                self._check_faults(method, what, path)
                wait = query.get("wait") == ["true"]
                return Answer.result(handler(self, *found.groups(), *request, **({"wait": wait} if wait else {})))
        raise _Plain(404, "")

    def _check_faults(self, method: str, what: str, path: str) -> None:
        if not path.startswith("/collections/") or method == "GET" or "/points" not in path:
            return
        if self.disk_full and what not in READING:
            raise Refusal(500, FULL)
        if self.node_down:
            failed = "1 of 1 read operations failed:\n  "
            if what not in READING:
                failed = "2 out of 5 shards failed to apply operation. First error captured: "
            raise Refusal(500, f"Service internal error: {failed}{DOWN}")

    # Each handler answers with what a server calls `result`.

    def _list(self) -> Any:
        return {"collections": [{"name": name} for name in self._collections]}

    def _exists(self, name: str) -> Any:
        return {"exists": self._aliases.get(name, name) in self._collections}

    def _describe(self, name: str) -> Any:
        return self._collection(name).description()

    def _create(self, name: str, request: models.CreateCollection) -> bool:
        if name in self._collections or name in self._aliases:
            raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
        self._collections[name] = Collection.create(self._client, name, request)
        self._save()
        return True

    def _change(self, name: str, request: models.UpdateCollection) -> bool:
        self._collection(name).change(request)
        self._save()
        return True

    def _delete_collection(self, name: str) -> bool:
        if self._collections.pop(name, None) is None:
            return False
        self._client.delete_collection(name)
        self._aliases = {alias: target for alias, target in self._aliases.items() if target != name}
        self._save()
        return True

    def _list_aliases(self) -> Any:
        return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in self._aliases.items()]}

    def _change_aliases(self, request: models.ChangeAliasesOperation) -> bool:
        """Apply one action after the other; those before the first that is refused stay."""
        try:
            for action in request.actions:
                self._change_alias(action)
        finally:
            self._save()
        return True

    def _change_alias(self, action: models.AliasOperations) -> None:
        if isinstance(action, models.CreateAliasOperation):
            collection, alias = action.create_alias.collection_name, action.create_alias.alias_name
            if collection not in self._collections:
                raise not_found(f"Collection `{collection}` doesn't exist!")
            if alias in self._collections:
                raise Refusal(409, f"Wrong input: Collection `{alias}` already exists!")
            self._aliases[alias] = collection
        elif isinstance(action, models.DeleteAliasOperation):
            self._aliases.pop(action.delete_alias.alias_name, None)
        else:
            renamed = action.rename_alias
            if renamed.old_alias_name not in self._aliases:
                raise not_found(f"Alias {renamed.old_alias_name} does not exists!")
            self._aliases[renamed.new_alias_name] = self._aliases.pop(renamed.old_alias_name)

    def _add_index(self, name: str, request: models.CreateFieldIndex, wait: bool = False) -> Any:
        schema = request.field_schema
        kind = schema if isinstance(schema, str) else getattr(schema, "type", schema)
        answer = self._collection(name).add_index(request.field_name, str(getattr(kind, "value", kind)))
        self._save()
        return answer

    def _upsert(self, name: str, request: models.PointsList, wait: bool = False) -> Any:
        collection = self._collection(name)
        collection.upsert(request.points)
        return collection.written(wait)

    def _delete(self, name: str, request: "Selector", wait: bool = False) -> Any:
        collection = self._collection(name)
        points = request.points
        selector = (
            models.FilterSelector(filter=request.filter) if points is None else models.PointIdsList(points=points)
        )
        collection.delete(selector)
        return collection.written(wait)

    def _set_payload(self, name: str, request: models.SetPayload, wait: bool = False) -> Any:
        collection = self._collection(name)
        collection.set_payload(request)
        return collection.written(wait)

    def _change_points(self, name: str, request: models.UpdateOperations, wait: bool = False) -> Any:
        collection = self._collection(name)
        collection.change_points(request)
        return [collection.written(wait)] * len(request.operations)

    def _retrieve(self, name: str, request: models.PointRequest) -> Any:
        return self._collection(name).retrieve(request)

    def _point(self, name: str, id: str) -> Any:
        collection = self._collection(name)
        if not is_id(id):
            raise wrong_input(f'Can not recognize "{id}" as point id')
        return collection.point(id)

    def _query(self, name: str, request: models.QueryRequest) -> Any:
        return self._collection(name).query(request)

    def _batch(self, name: str, request: models.QueryRequestBatch) -> Any:
        return [self._collection(name).query(search) for search in request.searches]

    def _groups(self, name: str, request: models.QueryGroupsRequest) -> Any:
        return self._collection(name).query_groups(request)

    def _scroll(self, name: str, request: models.ScrollRequest) -> Any:
        return self._collection(name).scroll(request)

    def _count(self, name: str, request: models.CountRequest) -> Any:
        return self._collection(name).checked_count(request)

    def _facet(self, name: str, request: models.FacetRequest) -> Any:
        return self._collection(name).facet(request)

    def _cluster(self) -> Any:
        return {"status": "disabled"}

    def _shards(self, name: str) -> Any:
        """All points are said to be in the first shard."""
        collection = self._collection(name)
        count = collection.config["params"]["shard_number"]
        points = [collection.count(None), *[0] * (count - 1)]
        shards = [{"shard_id": shard, "points_count": points[shard], "state": "Active"} for shard in range(count)]
        return {
            "peer_id": 1,
            "shard_count": count,
            "local_shards": shards,
            "remote_shards": [],
            "shard_transfers": [],
        }

    def _collection(self, name: str) -> Collection:
        found = self._collections.get(self._aliases.get(name, name))
        if found is None:
            raise not_found(f"Collection `{name}` doesn't exist!")
        return found

    def _load(self) -> None:
        if self._folder and (state := self._folder / "stand-in.json").exists():
            saved = json.loads(state.read_text())
            self._aliases = saved["aliases"]
            for name, (config, indexes) in saved["collections"].items():
                self._collections[name] = Collection(self._client, name, config, indexes)

    def _save(self) -> None:
        if self._folder:
            collections = {name: (found.config, found.indexes) for name, found in self._collections.items()}
            state = {"aliases": self._aliases, "collections": collections}
            (self._folder / "stand-in.json").write_text(json.dumps(to_jsonable_python(state)))


class Selector(BaseModel):
    """The points to delete: some ids, or those that a filter matches."""

    points: list[models.ExtendedPointId] | None = None
    filter: models.Filter | None = None

    def as_ids(self) -> models.PointIdsList:
        return models.PointIdsList(points=self.points)


class _Plain(Exception):
    """An error in plain text: a status, and the text."""


ROUTES: dict[tuple[str, str], tuple[Any, Handler]] = {
    ("GET", "/collections"): (None, StandIn._list),
    ("GET", "/aliases"): (None, StandIn._list_aliases),
    ("POST", "/collections/aliases"): (models.ChangeAliasesOperation, StandIn._change_aliases),
    ("GET", "/cluster"): (None, StandIn._cluster),
    ("GET", NAME): (None, StandIn._describe),
    ("PUT", NAME): (models.CreateCollection, StandIn._create),
    ("PATCH", NAME): (models.UpdateCollection, StandIn._change),
    ("DELETE", NAME): (None, StandIn._delete_collection),
    ("GET", f"{NAME}/exists"): (None, StandIn._exists),
    ("GET", f"{NAME}/cluster"): (None, StandIn._shards),
    ("PUT", f"{NAME}/index"): (models.CreateFieldIndex, StandIn._add_index),
    ("PUT", f"{NAME}/points"): (models.PointsList, StandIn._upsert),
    ("POST", f"{NAME}/points"): (models.PointRequest, StandIn._retrieve),
    ("GET", f"{NAME}/points/([^/]+)"): (None, StandIn._point),
    ("POST", f"{NAME}/points/delete"): (Selector, StandIn._delete),
    ("POST", f"{NAME}/points/payload"): (models.SetPayload, StandIn._set_payload),
    ("POST", f"{NAME}/points/batch"): (models.UpdateOperations, StandIn._change_points),
    ("POST", f"{NAME}/points/query"): (models.QueryRequest, StandIn._query),
    ("POST", f"{NAME}/points/query/batch"): (models.QueryRequestBatch, StandIn._batch),
    ("POST", f"{NAME}/points/query/groups"): (models.QueryGroupsRequest, StandIn._groups),
    ("POST", f"{NAME}/points/scroll"): (models.ScrollRequest, StandIn._scroll),
    ("POST", f"{NAME}/points/count"): (models.CountRequest, StandIn._count),
    ("POST", f"{NAME}/facet"): (models.FacetRequest, StandIn._facet),
}
