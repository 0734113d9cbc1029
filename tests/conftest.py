"""What every room's tests share."""

from collections.abc import Iterator
from pathlib import Path

import make
import pytest

from retrieval.bundle import Bundle
from retrieval.settings import Settings

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small real bundle."""
    return make.bundle(tmp_path_factory.mktemp("bundles") / "thumbnail")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos in three folders, one a label; not to be changed."""
    return make.library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a home of their own, also for the processes that a test starts."""
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKALIKE_EMBEDDING_THREADS", "1")
    for name in ("BUNDLE", "QDRANT_URL", "REDIS_URL", "API_KEYS", "LIBRARY_ROOTS"):
        monkeypatch.delenv(f"LOOKALIKE_{name}", raising=False)
    yield Settings()


@pytest.fixture(scope="session")
def flowers() -> Path:
    """The 1,500 real flower photos beside the checkout."""
    folder = SHARED / "flowers"
    if not folder.is_dir():
        pytest.skip("there are no real photos in ../shared/flowers")
    return folder
