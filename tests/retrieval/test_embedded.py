"""What only the embedded index has: one folder, one process, and a disk that can be full."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from disks import small_disk
from flushes import Flushes

from retrieval.errors import IndexBusy, IndexUnreadable, IndexWriteFailed
from retrieval.index import Payload, Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id

HOLD = """
import sys, pathlib
from retrieval.index.embedded import EmbeddedStore
index = EmbeddedStore(pathlib.Path(sys.argv[1])).open("net-1", 4)
print("open", flush=True)
sys.stdin.read()
"""


FIRST = """
import sys, pathlib
from retrieval.errors import IndexBusy
from retrieval.index.embedded import EmbeddedStore
print("ready", flush=True)
sys.stdin.readline()
try:
    with EmbeddedStore(pathlib.Path(sys.argv[1])).open("net-1", 4) as index:
        print("won", flush=True)
        sys.stdin.readline()
        print(index.count(), flush=True)
except IndexBusy as error:
    print(error, flush=True)
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


def test_of_several_first_processes_one_makes_the_index(store: EmbeddedStore, tmp_path: Path) -> None:
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", FIRST, tmp_path / "index"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for _ in range(4)
        ]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = {process: process.stdout.readline() for process in processes}
        (winner,) = (process for process in processes if said[process] == "won\n")
        assert winner.communicate("close\n")[0] == "0\n"
    del said[winner]
    assert all(f"process {winner.pid}." in line for line in said.values()), said
    with store.open("net-1", 4) as index:
        index.upsert([point(1)])
        assert index.count() == 1


def test_an_index_in_use_is_not_removed(store: EmbeddedStore, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(IndexBusy, match=rf"process {holder.pid}"):
        store.remove("net-1")
    holder.kill()
    holder.wait()
    store.remove("net-1")
    assert store.models() == []


def test_a_half_made_index_is_made_anew(store: EmbeddedStore, tmp_path: Path) -> None:
    """A process killed between making the shard and its description leaves a folder without one."""
    store.open("net-1", 4).close()
    (tmp_path / "index" / "net-1" / "index.json").unlink()
    assert store.models() == []
    with store.open("net-1", 4) as index:
        index.upsert([point(1)])
        assert index.count() == 1


def test_an_unfinished_shard_is_made_anew(store: EmbeddedStore, tmp_path: Path) -> None:
    (tmp_path / "index" / "net-1" / "unfinished" / "wal").mkdir(parents=True)
    with store.open("net-1", 4) as index:
        index.upsert([point(1)])
    assert not (tmp_path / "index" / "net-1" / "unfinished").exists()


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ('{"dimension": 4, "shard": "shard-0a"}', "index.json names shard-0a, which is missing"),
        ('{"dimension": 4, "shard": "shard-0b"}', "index.json names shard-0b, which is empty"),
        (None, "index.json is missing"),
    ],
    ids=["missing", "empty", "no description"],
)
def test_photos_in_another_shard_are_kept_and_opened_as_the_message_says(
    store: EmbeddedStore, tmp_path: Path, written: str | None, named: str
) -> None:
    """After an older backup or half a copy, the description names another shard than the one with the photos."""
    folder, description = tmp_path / "index" / "net-1", tmp_path / "index" / "net-1" / "index.json"
    with store.open("net-1", 4) as index:
        index.upsert([point(1), point(2)])
    if written is None:
        description.unlink()
    else:
        description.write_text(written)
        store.open("net-2", 4).close()
        shutil.copytree(tmp_path / "index" / "net-2" / "shard", folder / "shard-0b")
    for _ in range(2):
        with pytest.raises(IndexUnreadable, match=rf"{named}, and there are photos in shard\.") as refused:
            store.open("net-1", 4)
    (line,) = re.findall(r"\{.*\}", refused.value.remedy)
    description.write_text(line)
    with store.open("net-1", 4) as index:
        assert index.count() == 2


def test_a_read_only_file_system_is_told_with_a_remedy_that_helps(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 200_000_000) as disk:
        store = EmbeddedStore(disk / "index")
        with store.open("net-1", 4) as index:
            index.upsert([point(1)])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(IndexUnreadable, match=r"read-only.* copy LOOKALIKE_HOME to a disk that can be written"):
            store.open("net-1", 4)
        shutil.copytree(disk / "index", tmp_path / "copy")
        with EmbeddedStore(tmp_path / "copy").open("net-1", 4) as index:
            assert index.count() == 1
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        with store.open("net-1", 4) as index:
            assert index.count() == 1


def test_a_clock_before_1970_is_told(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.index.folder.time.time", lambda: -2e8)
    with pytest.raises(IndexUnreadable, match=r"clock of this machine shows 1963-.*Set it"):
        store.open("net-1", 4)


def test_the_log_is_flushed_if_anything_was_written(store: EmbeddedStore, tmp_path: Path, flushes: Flushes) -> None:
    log = tmp_path / "index" / "net-1" / "shard" / "wal"
    with store.open("net-1", 4) as index:
        for write in (lambda: index.upsert([point(1)]), lambda: index.delete([point(1).id])):
            index.flush()
            flushes.paths.clear()
            write()
            index.flush()
            assert any(path.parent == log and path.name.startswith("open-") for path in flushes.paths)
            assert flushes.paths[-1] == log
        flushes.paths.clear()
        index.flush()
        assert flushes.paths == []


def test_a_new_index_is_flushed_before_it_is_described(store: EmbeddedStore, tmp_path: Path, flushes: Flushes) -> None:
    store.open("net-1", 4).close()
    folder = tmp_path / "index" / "net-1"
    described = next(number for number, path in enumerate(flushes.paths) if path.name.startswith(".index.json"))
    written = {path for path in (folder / "shard").rglob("*") if path.is_file() and path.parent.name != "wal"}
    assert written
    assert {folder / "unfinished" / path.relative_to(folder / "shard") for path in written} <= set(
        flushes.paths[:described]
    )


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
    with pytest.raises(
        IndexUnreadable, match=r"can't be opened.*Restore that folder from a backup, or move it to another place"
    ):
        store.open("net-1", 4)


@pytest.mark.parametrize("file", ["shard", "shard/edge_config.json", "index.json"])
def test_an_index_of_another_user_is_told(store: EmbeddedStore, tmp_path: Path, file: str) -> None:
    store.open("net-1", 4).close()
    denied = tmp_path / "index" / "net-1" / file
    mode = denied.stat().st_mode
    denied.chmod(0)
    (tmp_path / "index" / "net-1" / "holder.json").chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("test_", "popen-", "pytest-")):  # which only their owner may read
            folder.chmod(0o755)
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=open_as_another_user, args=(store, sender))
    process.start()
    sender.close()
    message = receiver.recv()
    process.join()
    denied.chmod(mode)
    assert "can't be opened" in message
    assert "Correct the permissions of that folder" in message


def open_as_another_user(store: EmbeddedStore, sender: Connection) -> None:
    """Open an index in a child process, as a user who may read it only if everyone may, and send the message."""
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        store.open("net-1", 4).close()
        sender.send("it was opened")
    except IndexUnreadable as error:
        sender.send(str(error))


@pytest.mark.parametrize("content", ["{", "[]", '{"current": 5}'])
def test_a_damaged_pointer_is_told(store: EmbeddedStore, tmp_path: Path, content: str) -> None:
    store.open("net-1", 4).close()
    (tmp_path / "index" / "current.json").write_text(content)
    with pytest.raises(IndexUnreadable, match=r"current\.json is damaged.*Delete that file"):
        store.current()


def test_a_damaged_description_is_told(store: EmbeddedStore, tmp_path: Path) -> None:
    store.open("net-1", 4).close()
    for content in ("{", "[]"):
        (tmp_path / "index" / "net-1" / "index.json").write_text(content)
        with pytest.raises(IndexUnreadable, match="can't be opened"):
            store.open("net-1", 4)


def test_damaged_files_are_told_when_they_are_read(store: EmbeddedStore, tmp_path: Path) -> None:
    with store.open("net-1", 4) as index:
        index.upsert([point(number) for number in range(5)])
    (status,) = (tmp_path / "index" / "net-1").glob("shard/segments/*/vector_storage/vectors/status.dat")
    status.unlink()
    with store.open("net-1", 4) as index, pytest.raises(IndexUnreadable, match="can't be read"):
        list(index.scroll())


def test_a_damaged_payload_is_told() -> None:
    with pytest.raises(IndexUnreadable, match=r"payload is damaged.*'uri'"):
        Payload.from_dict(None)
