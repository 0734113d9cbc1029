"""Fixtures for the tests of the indexer."""

import pytest

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
