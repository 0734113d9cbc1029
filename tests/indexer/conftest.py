"""What the indexer's tests share."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import lookalike
from indexer.batch import BatchIndexer
from retrieval.bundle import Bundle
from retrieval.embedder import Embedder
from retrieval.index import VectorIndex, open_store
from retrieval.settings import Settings


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """Calls `lookalike` as a shell would, in this process."""

    def call(*words: object) -> Called:
        monkeypatch.setattr(sys, "argv", ["lookalike", *map(str, words)])
        with pytest.raises(SystemExit) as exit:
            lookalike.main()
            sys.exit(0)
        return Called(exit.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def index(settings: Settings, bundle: Bundle):
    with open_store(settings).open(bundle.model_id, bundle.dimension) as opened:
        yield opened


@pytest.fixture
def indexer(bundle: Bundle, index: VectorIndex):
    with BatchIndexer(Embedder(bundle, threads=1), index, max_pixels=1_000_000) as made:
        yield made
