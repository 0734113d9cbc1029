"""What only the embedded index has: one folder, one process, and a disk that can be full."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import IndexBusy, IndexWriteFailed
from retrieval.index import Payload, Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.photos import photo_id

HOLD = """
import sys, pathlib
from retrieval.index.embedded import EmbeddedStore
index = EmbeddedStore(pathlib.Path(sys.argv[1])).open("net-1", 4)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    return EmbeddedStore(tmp_path / "index")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "index")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def point(number: int) -> Point:
    uri = f"file:///{number}.jpg"
    vector = np.random.default_rng(number).normal(size=4).astype(np.float32)
    return Point(photo_id(uri), vector / np.linalg.norm(vector), Payload(uri, "a", "0", 1, 1, 1, "t", "t"))


def test_a_second_process_is_told_who_holds_the_index(
    store: EmbeddedStore, holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(IndexBusy, match=rf"process {holder.pid}.*Stop that process"):
        store.open("net-1", 4)


def test_a_killed_holder_leaves_the_index_free(store: EmbeddedStore, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    store.open("net-1", 4).close()


def test_a_half_made_index_is_made_anew(store: EmbeddedStore, tmp_path: Path) -> None:
    """A process killed between making the shard and its description leaves a folder without one."""
    store.open("net-1", 4).close()
    (tmp_path / "index" / "net-1" / "index.json").unlink()
    assert store.models() == []
    with store.open("net-1", 4) as index:
        index.upsert([point(1)])
        assert index.count() == 1


def test_a_full_disk_refuses_before_anything_is_written(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.open("net-1", 4) as index:
        index.upsert([point(1)])
        usage = shutil.disk_usage("/")._replace(free=1_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
        with pytest.raises(IndexWriteFailed, match="is full: 1 MB are left"):
            index.upsert([point(2)])
        with pytest.raises(IndexWriteFailed):
            store.open("net-2", 4)
        assert index.count() == 1
    assert store.models() == ["net-1"]


def test_the_pointer_is_replaced_whole(store: EmbeddedStore, tmp_path: Path) -> None:
    store.open("net-1", 4).close()
    store.activate("net-1")
    assert json.loads((tmp_path / "index" / "current.json").read_text()) == {"current": "net-1", "previous": None}
    assert [path.name for path in (tmp_path / "index").iterdir() if path.name.startswith(".")] == []


def test_a_damaged_index_is_told(store: EmbeddedStore, tmp_path: Path) -> None:
    store.open("net-1", 4).close()
    shutil.rmtree(tmp_path / "index" / "net-1" / "shard")
    with pytest.raises(IndexWriteFailed, match="can't be opened"):
        store.open("net-1", 4)
