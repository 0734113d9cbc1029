"""Fixtures for the fault tests: a larger library, a job in a separate process, and the points of an index."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import make
import pytest

from retrieval.bundle import Bundle
from retrieval.index.embedded import EmbeddedStore

PHOTOS = 360
Points = dict[uuid.UUID, tuple[list[float], dict[str, object]]]


@pytest.fixture(scope="session")
def large_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Different files of a few different photos, large enough that decoding takes some time."""
    folder = tmp_path_factory.mktemp("large")
    for label in make.COLOURS:
        (folder / label).mkdir()
        contents = [make.encoded(make.photo(label, seed, (640, 480))) for seed in range(4)]
        for number in range(PHOTOS // len(make.COLOURS)):
            (folder / label / f"{number}.jpg").write_bytes(contents[number % 4] + b"%d" % number)
    return folder


@pytest.fixture
def start_index(settings: object, bundle: Bundle) -> Callable[..., subprocess.Popen[str]]:
    """Start `lookalike index SOURCE --json` with a home."""

    def start(source: Path, home: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lookalike", "index", source, "--bundle", bundle.folder, "--json"],
            env=os.environ | {"LOOKALIKE_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def points_of(bundle: Bundle) -> Callable[[Path], Points]:
    """The points of the index in a home, without the times at which they were written."""

    def read(home: Path) -> Points:
        with EmbeddedStore(home / "index").open(bundle.model_id, bundle.dimension) as index:
            points = list(index.scroll())
        assert len({point.id for point in points}) == len(points)
        return {
            point.id: (
                point.vector.round(5).tolist(),
                {name: value for name, value in point.payload.as_dict().items() if name != "indexed_at"},
            )
            for point in points
        }

    return read
