"""The result queue of a job: a list in Redis to which workers append what they report about its tasks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from indexer.messages import ResultMessage
from indexer.redis_client import retry
from retrieval.closing import Closing

EXPIRES_SECONDS = 24 * 3600  # when no job and no worker has used a key for that long


class ResultQueue(Closing):
    """The messages of workers to one job."""

    def __init__(self, client: "redis.Redis", name: str) -> None:
        self.name = name
        self._redis = client

    def put(self, message: ResultMessage) -> None:
        """Append a message; one that is sent again after an error may arrive twice."""
        content = json.dumps(message.model_dump(exclude_defaults=True))

        def send() -> None:
            with self._redis.pipeline() as pipeline:
                pipeline.rpush(self.name, content)
                pipeline.expire(self.name, EXPIRES_SECONDS)
                pipeline.execute()

        retry(send)

    def take(self, seconds: float) -> ResultMessage | None:
        """Remove and return the oldest message; None if none arrives in the given time."""
        found: Any = retry(lambda: self._redis.blpop([self.name], timeout=seconds))
        return ResultMessage.model_validate(json.loads(found[1])) if found else None

    def close(self) -> None:
        """Delete the queue."""
        retry(lambda: self._redis.delete(self.name))


@contextmanager
def delivery_count(client: "redis.Redis", task: str) -> Iterator[int]:
    """Yield how often a task was started and did not end, this time included, because its worker crashed."""
    key = f"lookalike:begun:{task}"

    def start() -> int:
        with client.pipeline() as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, EXPIRES_SECONDS)
            return int(pipeline.execute()[0])

    try:
        yield retry(start)
    finally:
        retry(lambda: client.delete(key))
