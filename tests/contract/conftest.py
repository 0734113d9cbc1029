"""The engines that must fulfil the contract."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_http import delete_collections, direct_client
from stand_in import StandIn

from retrieval.index import IndexStore
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.qdrant_server import ServerStore
from retrieval.settings import Settings

SERVER_URL = os.environ.get("LOOKALIKE_TEST_QDRANT_URL")  # of a real server, which replaces the stand-in


@pytest.fixture(params=["embedded", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexStore]:
    """An empty store of each engine."""
    if request.param == "embedded":
        yield EmbeddedStore(tmp_path / "index")
    elif SERVER_URL is None:
        server = StandIn()
        yield ServerStore(Settings(), lambda _: direct_client(server))
    else:
        prefix = f"test-{uuid.uuid4().hex[:12]}"
        with ServerStore(Settings(qdrant_url=SERVER_URL, qdrant_prefix=prefix)) as store:
            yield store
        delete_collections(SERVER_URL, prefix)


@pytest.fixture
def model() -> str:
    """A model id that no other test uses."""
    return f"net-{uuid.uuid4().hex[:12]}"
