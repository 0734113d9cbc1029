"""The engines that must fulfil the contract."""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.index import IndexStore
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.qdrant_server import PREFIX, ServerStore
from retrieval.settings import Settings

SERVER_URL = os.environ.get("LOOKALIKE_TEST_QDRANT_URL")


@pytest.fixture(params=["embedded", "memory", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexStore]:
    """An empty store of each engine."""
    if request.param == "embedded":
        yield EmbeddedStore(tmp_path / "index")
    elif request.param == "memory":
        yield ServerStore(Settings(), lambda _: InMemory())
    elif SERVER_URL is None:
        pytest.skip("LOOKALIKE_TEST_QDRANT_URL names no Qdrant server")
    else:
        yield from _server_store(SERVER_URL)


class InMemory(QdrantClient):
    """Qdrant in memory, which is not thread-safe; a lock serializes writes, searches and changes of aliases."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self._turn = threading.Lock()

    def upsert(self, *args: Any, **options: Any) -> models.UpdateResult:
        with self._turn:
            return super().upsert(*args, **options)

    def query_points(self, *args: Any, **options: Any) -> models.QueryResponse:
        with self._turn:
            return super().query_points(*args, **options)

    def update_collection_aliases(self, *args: Any, **options: Any) -> bool:
        try:
            with self._turn:
                return super().update_collection_aliases(*args, **options)
        except ValueError as error:  # which a server reports as a status
            raise UnexpectedResponse(404, str(error), b"", httpx.Headers()) from None


@pytest.fixture
def model() -> str:
    """A model id that no other test uses."""
    return f"net-{uuid.uuid4().hex[:12]}"


def _server_store(url: str) -> Iterator[IndexStore]:
    client = QdrantClient(url=url)
    yield ServerStore(Settings(), lambda _: client)
    for collection in client.get_collections().collections:
        if collection.name.startswith(PREFIX):
            client.delete_collection(collection.name)
