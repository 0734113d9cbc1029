"""A job on Celery workers: batches go out as tasks, no more at a time than a bounded number, and are followed.

The job answers for its batches. It remembers each until a worker's letter says what became of it, and sends it again
where nobody can have it any more: Redis lost its data, or a letter was lost. A batch that is done twice changes
nothing in the index (see `indexer.batch`), and the first letter counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic
from typing import Any

from celery import Task

from indexer import tasks
from indexer.batch import BATCH, BatchResult, Failure, batches, now
from indexer.crosscheck import CROSS_CHECK, CrossCheck
from indexer.executor import BatchExecutor
from indexer.result_queue import ResultQueue, connect, errors_as_sentences, patiently, require_redis
from retrieval.cancellation import CancellationToken
from retrieval.console import say
from retrieval.errors import LookalikeError
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

MOST_OUTSTANDING = 256  # batches on their way at a time, some 4 MB of Redis' memory; enough for a hundred workers
LOOK_SECONDS = 0.5  # between looks into the mailbox while batches can still be sent; then, how long a look waits
MOMENT = 0.001
PATIENCE_SECONDS = 10.0


@dataclass(slots=True)
class _Sent:
    """A task on its way: the message, and when anything was last heard of it, by the monotonic clock."""

    task: Task
    message: dict[str, Any]
    heard: float

    @property
    def photos(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.message["photos"]
        return found


class CeleryExecutor(BatchExecutor):
    """Lets Celery workers do the work; they must reach the same files and the same index.

    Args:
        settings: names the Redis server.
        model: the model's id; a worker that has another refuses.

    Raises:
        LookalikeError: Redis can't be reached.
    """

    def __init__(self, settings: Settings, model: str) -> None:
        require_redis(settings)
        self._settings = settings
        self._model = model
        self._redis = connect(settings)
        self._letters = ResultQueue(self._redis, f"lookalike:letters:{token_hex(8)}")
        self._sent: dict[str, _Sent] = {}
        self._heard = monotonic()

    def index(self, photos: Iterable[PhotoRef]) -> Iterator[BatchResult]:
        """See `BatchExecutor.index`; what is still waiting when the caller gives up is revoked."""
        looked = monotonic()
        try:
            for batch in batches(photos, BATCH):
                self._send_batch(tasks.PHOTOS.dump_python(batch, exclude_defaults=True), now())
                while len(self._sent) >= MOST_OUTSTANDING:
                    yield self._next_outcome(LOOK_SECONDS)
                if monotonic() - looked > LOOK_SECONDS:
                    yield from iter(lambda: self._next_outcome(MOMENT), BatchResult())
                    yield BatchResult()
                    looked = monotonic()
            while self._sent:
                yield self._next_outcome(LOOK_SECONDS)
        finally:
            self._revoke()

    def remove_gone(self, sources: Sequence[str], cancellation: CancellationToken, *, urls: bool = False) -> int:
        """See `BatchExecutor.remove_gone`: done by one worker, which lists the sources itself."""
        answer = self._ask(tasks.remove_gone, cancellation, sources=list(sources), urls=urls)
        return 0 if answer is None else int(answer["removed"])

    def optimize(self, cancellation: CancellationToken) -> None:
        """See `BatchExecutor.optimize`: the server that workers share does it by itself."""

    def cross_check(self, cancellation: CancellationToken) -> CrossCheck | None:
        """See `BatchExecutor.cross_check`: done by one worker."""
        answer = self._ask(tasks.cross_check, cancellation)
        result = None if answer is None else answer["cross_check"]
        return CROSS_CHECK.validate_python(result) if result is not None else None

    def close(self) -> None:
        """Throw the mailbox away."""
        with suppress(LookalikeError), self._redis:  # without Redis, what is left there ends by itself
            self._letters.close()

    def _next_outcome(self, seconds: float) -> BatchResult:
        """The outcome of a batch that is done; an empty one where there is none, or it is to be done in parts."""
        letter = self._next_letter(seconds)
        if letter is None:
            return BatchResult()
        batch = self._sent.pop(letter["task"])
        if letter.get("lost"):
            return self._send_halves(batch)
        outcome = tasks.BATCH_RESULT.validate_python(letter["outcome"])
        if outcome.left:
            self._send_batch(tasks.PHOTOS.dump_python(list(outcome.left), exclude_defaults=True), batch.message["time"])
        return outcome

    def _send_halves(self, batch: _Sent) -> BatchResult:
        """Close in on the photo whose reading ended several workers; alone, it fails."""
        if len(batch.photos) == 1:
            reason = f"{tasks.MOST_DELIVERIES} workers were lost while they worked on it."
            return BatchResult(seen=1, failures=(Failure(batch.photos[0]["uri"], reason),))
        middle = len(batch.photos) // 2
        for half in (batch.photos[:middle], batch.photos[middle:]):
            self._send_batch(half, batch.message["time"])
        return BatchResult()

    def _ask(self, task: Task, cancellation: CancellationToken, **content: Any) -> dict[str, Any] | None:
        """What a worker answers to a task, however long it takes; None where nobody waits for it any more."""
        self._send(task, content)
        try:
            while not cancellation.cancelled:
                if letter := self._next_letter(LOOK_SECONDS):
                    del self._sent[letter["task"]]
                    return letter
            return None
        finally:
            self._revoke()

    def _next_letter(self, seconds: float) -> dict[str, Any] | None:
        """The next letter that ends a task on its way; raises what a worker could not mend."""
        letter = self._letters.take(seconds)
        if letter is None:
            self._look_after_silent_tasks()
            return None
        self._heard = monotonic()
        sent = self._sent.get(letter["task"])
        if sent is None:  # a task that was done twice
            return None
        sent.heard = self._heard
        if "error" in letter:
            raise LookalikeError(letter["error"], letter["remedy"])
        return None if letter.get("working") else letter

    def _look_after_silent_tasks(self) -> None:
        """Send again what nobody can have: not heard of for so long, while no task waits in the queue."""
        if monotonic() - self._heard < PATIENCE_SECONDS:
            return
        long_ago = monotonic() - self._settings.redelivery_seconds
        silent = [(name, sent) for name, sent in self._sent.items() if sent.heard < long_ago]
        waiting = errors_as_sentences(lambda: self._redis.llen(tasks.QUEUE))
        if silent and not waiting:
            for name, sent in silent:
                self._deliver(name, sent)
        if waiting and not count_workers():
            say("No worker answers. Start one with `lookalike worker`; the job waits for it.", "yellow")
        self._heard = monotonic()

    def _send_batch(self, photos: list[dict[str, Any]], time: str) -> None:
        """Send a batch; a part of one has its time, by which it knows what an earlier attempt has written."""
        self._send(tasks.index_batch, {"photos": photos, "time": time})

    def _send(self, task: Task, content: dict[str, Any]) -> None:
        message = {"version": tasks.MESSAGE_VERSION, "model": self._model, **content}
        self._deliver(token_hex(16), _Sent(task, message, monotonic()))

    def _revoke(self) -> None:
        """Take back what nobody has answered."""
        if self._sent:
            with suppress(LookalikeError):
                errors_as_sentences(lambda: tasks.app.control.revoke(list(self._sent)))
            self._sent.clear()

    def _deliver(self, name: str, sent: _Sent) -> None:
        patiently(lambda: sent.task.apply_async((sent.message,), task_id=name, reply_to=self._letters.name))
        sent.heard = monotonic()
        self._sent[name] = sent


def count_workers() -> int:
    """How many workers answer within a second."""
    return len(patiently(lambda: tasks.app.control.ping(timeout=1.0)))
