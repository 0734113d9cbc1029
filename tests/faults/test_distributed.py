"""A job on several workers completes although machines are killed and servers restarted.

`LOOKALIKE_TEST_KILLS=50` kills fifty times; without it there are a few, for every day.
"""

import hashlib
import json
import os
import random
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import make
import pytest
import redis
from machines import Machines, assert_same
from qdrant_http import listening
from stand_in import StandIn
from waiting import until

from indexer.batch import BatchIndexer
from indexer.jobs import list_jobs
from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import Point
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings

KILLS = int(os.environ.get("LOOKALIKE_TEST_KILLS", "4"))
KILLS_A_JOB = 10
PHOTOS = 360


@pytest.fixture
def machines(tmp_path: Path, bundle: Bundle, settings: object) -> Iterator[Machines]:
    made = Machines(tmp_path, bundle)
    yield made
    made.close()


@pytest.fixture
def expected(large_library: Path, bundle: Bundle, tmp_path: Path) -> dict[uuid.UUID, Point]:
    """The points that an undisturbed job in one process writes."""
    with EmbeddedStore(tmp_path / "alone").open(bundle.model_id, bundle.dimension) as index:
        with BatchIndexer(Embedder(bundle, threads=1), index, PhotoDecoder()) as indexer:
            assert sum(outcome.indexed for outcome in indexer.run(list_photos(large_library))) == PHOTOS
        return {point.id: point for point in index.scroll()}


def finish(job: subprocess.Popen[str]) -> dict[str, object]:
    out, err = job.communicate(timeout=240)
    assert job.returncode == 0, err
    return json.loads(out)


def until_batches_wait(machines: Machines) -> None:
    """Wait until the job has started; if Redis is unavailable before, the user must start it."""
    with redis.Redis.from_url(machines.redis_url) as client:
        until(lambda: client.llen("lookalike") > 0)


@pytest.mark.slow
@pytest.mark.parametrize("job_number", range(max(1, KILLS // KILLS_A_JOB)))
def test_kills_of_workers_lose_no_photo_and_count_none_twice(
    job_number: int, machines: Machines, expected: dict[uuid.UUID, Point], large_library: Path
) -> None:
    rng = random.Random(job_number)
    job = machines.start_index(large_library)
    until_batches_wait(machines)
    kills = [machines.kill_child, machines.kill_worker]
    for number in range(min(KILLS, KILLS_A_JOB)):
        time.sleep(rng.uniform(0, 1.5))
        rng.choice(kills)(rng)
        if number == 2:
            machines.restart_redis()
    result = finish(job)
    assert [result[name] for name in ("seen", "indexed", "unchanged", "failed")] == [PHOTOS, PHOTOS, 0, 0]
    assert result["crosscheck"]["passed"]
    assert_same(machines.points(), expected)


@pytest.mark.slow
def test_the_batches_of_a_lost_worker_do_not_wait_for_redis(tmp_path: Path, bundle: Bundle, settings: object) -> None:
    """Redis would deliver them again after an hour; `benchmarks/lost_worker.py` measures the seconds."""
    library = make.library(tmp_path / "photos", per_label=120)
    machines = Machines(tmp_path, bundle, redelivery_seconds=3600)
    try:
        job = machines.start_index(library)
        jobs = Settings(home=machines.folder / "home")
        until(lambda: any(job.seen for job in list_jobs(jobs)), 120)
        machines.lose_worker()
        result = finish(job)
        assert (result["seen"], result["indexed"], result["failed"]) == (PHOTOS, PHOTOS, 0)
    finally:
        machines.close()


@pytest.mark.slow
def test_a_job_says_that_the_index_server_limits_its_cross_check(
    tmp_path: Path, bundle: Bundle, settings: object
) -> None:
    """Its batches need fewer reads than the server accepts at once, the searches of the cross-check more."""
    server = StandIn()
    with listening(server) as node:
        machines = Machines(tmp_path, bundle, workers=1, qdrant_url=node.url)
        try:
            collection = machines.create_collection(shards=1)
            limits = {"strict_mode_config": {"enabled": True, "read_rate_limit": 60}}
            assert server.answer("PATCH", f"/collections/{collection}", json.dumps(limits).encode(), {}).status == 200
            assert finish(machines.start_index(make.library(tmp_path / "photos", per_label=4)))["indexed"] == 12
            (job,) = list_jobs(Settings(home=machines.folder / "home"))
            assert job.slowed_by == "The Qdrant server limits the rate of requests, and the job waits for it."
        finally:
            machines.close()


@pytest.mark.slow
def test_a_redis_that_loses_its_data_loses_no_photo(
    machines: Machines, expected: dict[uuid.UUID, Point], large_library: Path
) -> None:
    job = machines.start_index(large_library)
    until_batches_wait(machines)
    machines.restart_redis(lose_data=True)
    result = finish(job)
    assert (result["seen"], result["indexed"]) == (PHOTOS, PHOTOS)
    assert_same(machines.points(), expected)


@pytest.mark.slow
@pytest.mark.skipif("LOOKALIKE_TEST_QDRANT_URL" in os.environ, reason="a real server must not be stopped by tests")
def test_an_index_server_that_is_temporarily_unavailable_loses_no_photo(
    machines: Machines, expected: dict[uuid.UUID, Point], large_library: Path
) -> None:
    job = machines.start_index(large_library)
    jobs = Settings(home=machines.folder / "home")
    until(lambda: any(job.seen for job in list_jobs(jobs)), 120)
    machines.restart_qdrant(pause=6)
    result = finish(job)
    assert (result["seen"], result["indexed"], result["failed"]) == (PHOTOS, PHOTOS, 0)
    assert_same(machines.points(), expected)


@pytest.mark.slow
def test_renumbered_photos_keep_their_points_on_several_workers(
    machines: Machines, large_library: Path, tmp_path: Path, bundle: Bundle
) -> None:
    """Each batch finds photos in the places of those of others, which workers write at the same time."""
    library = tmp_path / "renumbered"
    library.mkdir()
    for number, photo in enumerate(sorted(large_library.rglob("*.jpg"))):
        (library / f"{number:03}.jpg").write_bytes(photo.read_bytes() + b"%d" % number)
    assert finish(machines.start_index(library))["indexed"] == PHOTOS
    before = machines.points()
    contents = [photo.read_bytes() for photo in sorted(library.iterdir())]
    for photo, content in zip(sorted(library.iterdir()), contents[200:] + contents[:200], strict=True):
        photo.write_bytes(content)
    result = finish(machines.start_index(library))
    assert (result["moved"], result["indexed"], result["failed"]) == (PHOTOS, 0, 0)
    after = machines.points()
    assert {one.payload.sha256: photo for photo, one in after.items()} == {
        one.payload.sha256: photo for photo, one in before.items()
    }
    assert {one.payload.uri: one.payload.sha256 for one in after.values()} == {
        uri_of(photo): hashlib.sha256(photo.read_bytes()).hexdigest() for photo in library.iterdir()
    }
