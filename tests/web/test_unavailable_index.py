"""Requests while the index server is unavailable."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException
from serving import Site

from retrieval.bundle import Bundle, install_bundle
from retrieval.current_model import open_searcher
from retrieval.index.qdrant_server import ServerStore
from retrieval.settings import Settings
from web.app import create_app


class Stopping(QdrantClient):
    """Qdrant in memory, which can become unavailable for searches."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.available = True
        self.attempts = 0

    def query_points(self, *args: Any, **options: Any) -> models.QueryResponse:
        self.attempts += 1
        if not self.available:
            raise ResponseHandlingException(httpx.ConnectError("connection refused"))
        return super().query_points(*args, **options)


@pytest.fixture
def server() -> Stopping:
    return Stopping()


@pytest.fixture
def client(server: Stopping, settings: Settings, bundle: Bundle, shared: Site) -> Iterator[FlaskClient]:
    install_bundle(bundle, settings.models_folder)
    with ServerStore(settings, lambda _: server) as store:
        with store.open(bundle.model_id, bundle.dimension) as index:
            index.upsert(list(shared.searcher.index.scroll()))
        store.activate(bundle.model_id)
        with open_searcher(settings, store) as searcher:
            yield create_app(settings, store, searcher).test_client()


def test_a_search_is_retried_once_soon_and_then_refused(client: FlaskClient, server: Stopping) -> None:
    vector = [1.0] * 16
    assert client.post("/api/v1/search", json={"vector": vector}).status_code == 200
    server.available, server.attempts = False, 0
    start = time.monotonic()
    refused = client.post("/api/v1/search", json={"vector": vector})
    assert (refused.status_code, refused.headers["Retry-After"], server.attempts) == (503, "5", 2)
    assert time.monotonic() - start < 1
    assert "can't be reached" in refused.get_json()["detail"]
    server.available = True
    assert client.post("/api/v1/search", json={"vector": vector}).status_code == 200
