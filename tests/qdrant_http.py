"""A small server that speaks as much of Qdrant's REST protocol as Lookalike uses, for tests with several processes.

    python tests/qdrant_http.py PORT [FOLDER]

Behind it is qdrant-client's local mode, one request at a time. It shows how workers share an index over HTTP; what a
real server does by itself (replication, quantization, its own crashes) it does not show.
"""

import json
import re
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient, models

lock = threading.Lock()
client = QdrantClient(path=sys.argv[2]) if len(sys.argv) > 2 else QdrantClient(":memory:")
NAME = r"/collections/([^/]+)"
Answer = Callable[..., Any]


def create(name: str, body: dict[str, Any]) -> bool:
    request = models.CreateCollection.model_validate(body)
    return client.create_collection(name, vectors_config=request.vectors)


def update(name: str, body: dict[str, Any]) -> bool:
    return client.update_collection(name, metadata=models.UpdateCollection.model_validate(body).metadata)


def upsert(name: str, body: dict[str, Any]) -> models.UpdateResult:
    return client.upsert(name, models.PointsList.model_validate(body).points)


def delete_points(name: str, body: dict[str, Any]) -> models.UpdateResult:
    return client.delete(name, models.PointIdsList.model_validate(body))


def query(name: str, body: dict[str, Any]) -> models.QueryResponse:
    request = models.QueryRequest.model_validate(body)
    return client.query_points(
        name,
        query=request.query,
        limit=request.limit or 10,
        query_filter=request.filter,
        with_payload=bool(request.with_payload),
        with_vectors=bool(request.with_vector),
    )


def retrieve(name: str, body: dict[str, Any]) -> list[models.Record]:
    vectors = bool(body.get("with_vector"))
    return client.retrieve(name, body["ids"], with_payload=bool(body.get("with_payload")), with_vectors=vectors)


def scroll(name: str, body: dict[str, Any]) -> dict[str, Any]:
    request = models.ScrollRequest.model_validate(body)
    points, following = client.scroll(
        name,
        scroll_filter=request.filter,
        offset=request.offset,
        limit=request.limit or 10,
        with_payload=bool(request.with_payload),
        with_vectors=bool(request.with_vector),
    )
    return {"points": points, "next_page_offset": following}


def change_aliases(body: dict[str, Any]) -> bool:
    return client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)


CALLS: dict[tuple[str, str], Answer] = {
    ("GET", "/collections"): client.get_collections,
    ("GET", "/aliases"): client.get_aliases,
    ("POST", "/collections/aliases"): change_aliases,
    ("GET", f"{NAME}/exists"): lambda name: {"exists": client.collection_exists(name)},
    ("GET", NAME): client.get_collection,
    ("PUT", NAME): create,
    ("PATCH", NAME): update,
    ("DELETE", NAME): client.delete_collection,
    ("PUT", f"{NAME}/index"): lambda name, body: {"operation_id": 0, "status": "completed"},
    ("PUT", f"{NAME}/points"): upsert,
    ("POST", f"{NAME}/points"): retrieve,
    ("POST", f"{NAME}/points/delete"): delete_points,
    ("POST", f"{NAME}/points/query"): query,
    ("POST", f"{NAME}/points/scroll"): scroll,
    ("POST", f"{NAME}/points/count"): lambda name, body: client.count(name),
    ("POST", f"{NAME}/facet"): lambda name, body: client.facet(name, body["key"], limit=body["limit"]),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        if path == "/readyz":
            return self.reply(200, b"all shards are ready")
        for (method, pattern), call in CALLS.items():
            found = re.fullmatch(pattern, path)
            if method == self.command and found:
                try:
                    with lock:
                        result = call(*found.groups(), *([json.loads(body)] if body else []))
                except ValueError as error:
                    return self.reply(404 if "not found" in str(error) else 409, {"status": {"error": str(error)}})
                return self.reply(200, {"result": result, "status": "ok", "time": 0.0})
        return self.reply(501, {"status": {"error": f"{self.command} {path} is not understood here"}})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def reply(self, status: int, content: dict[str, Any] | bytes) -> None:
        data = content if isinstance(content, bytes) else json.dumps(to_jsonable_python(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
