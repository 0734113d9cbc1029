"""A job on Celery workers, which must reach the same files and the same index."""

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import cast

from indexer.batch import BATCH, BatchResult, now
from indexer.batches import batches
from indexer.crosscheck import CrossCheck
from indexer.executor import BatchExecutor
from indexer.index_columns import ColumnsSoFar, JobColumns
from indexer.messages import (
    MAX_CRASHES,
    BatchMessage,
    CrossCheckMessage,
    RemovalMessage,
    ResultMessage,
    SourcesMessage,
    TaskMessage,
)
from indexer.outstanding import OutstandingTasks
from indexer.redis_client import require_redis
from indexer.removal import Removal, RemovalLimits
from indexer.source_record import SourceRecord
from retrieval.cancellation import CancellationToken
from retrieval.listing_options import ListingOptions
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure

MAX_OUTSTANDING = 256  # batches, about 4 MB of Redis' memory; enough for a hundred workers
POLL_SECONDS = 0.5
MOMENT_SECONDS = 0.001


class CeleryExecutor(BatchExecutor):
    """Sends batches as tasks, a bounded number at a time, and bisects those that crash workers.

    A worker that has another model refuses. Raises `LookalikeError` if Redis can't be reached.
    """

    def __init__(self, settings: Settings, model: str) -> None:
        require_redis(settings)
        self._model = model
        self._slowed_by: str | None = None
        self._tasks = OutstandingTasks(settings)

    def index(self, photos: Iterable[PhotoRef], columns: ColumnsSoFar = JobColumns) -> Iterator[BatchResult]:
        """See `BatchExecutor.index`; batches that are outstanding when the caller stops are revoked."""
        polled = monotonic()
        try:
            for batch in batches(photos, BATCH):
                self._tasks.send(BatchMessage(model=self._model, photos=batch, time=now(), columns=columns()))
                while len(self._tasks) >= MAX_OUTSTANDING:
                    yield self._next_result(POLL_SECONDS)
                if monotonic() - polled > POLL_SECONDS:
                    yield from iter(lambda: self._next_result(MOMENT_SECONDS), BatchResult())
                    yield BatchResult()
                    polled = monotonic()
            while len(self._tasks):
                yield self._next_result(POLL_SECONDS)
        finally:
            self._tasks.revoke()

    def remove_gone(
        self,
        sources: Sequence[str],
        policy: SourcePolicy,
        options: ListingOptions,
        limits: RemovalLimits,
        cancellation: CancellationToken,
    ) -> Removal:
        """See `BatchExecutor.remove_gone`: done by one worker, which lists the sources itself."""
        message = RemovalMessage(
            model=self._model,
            sources=list(sources),
            urls=policy.allow_urls,
            include_hidden=options.include_hidden,
            exclude=list(options.exclude),
            limits=limits,
        )
        result = self._run(message, cancellation)
        return result.removal if result else Removal()

    def record_sources(
        self, records: dict[str, SourceRecord], cancellation: CancellationToken, *, keep_mounts: bool
    ) -> None:
        """See `BatchExecutor.record_sources`: done by one worker."""
        self._run(SourcesMessage(model=self._model, records=records, keep_mounts=keep_mounts), cancellation)

    def optimize(self, cancellation: CancellationToken) -> None:
        """See `BatchExecutor.optimize`: nothing to do, the Qdrant server optimizes by itself."""

    def calibrate(self) -> None:
        """See `BatchExecutor.calibrate`: nothing to do, the worker that cross-checks the index calibrates it first."""

    def cross_check(self, cancellation: CancellationToken) -> CrossCheck | None:
        """See `BatchExecutor.cross_check`: done by one worker."""
        result = self._run(CrossCheckMessage(model=self._model), cancellation)
        return result.cross_check if result else None

    def slowed_by(self) -> str | None:
        """See `BatchExecutor.slowed_by`: as the workers report it."""
        slowed_by, self._slowed_by = self._slowed_by, None
        return slowed_by

    def close(self) -> None:
        """Delete the result queue."""
        self._tasks.close()

    def _next_result(self, seconds: float) -> BatchResult:
        """Return the result of a batch; an empty one if none is finished, or its photos were sent again."""
        finished = self._tasks.next_result(seconds)
        if finished is None:
            return BatchResult()
        message, result = cast(BatchMessage, finished[0]), finished[1]
        if result.crashed:
            return self._bisect(message)
        if result.batch.unprocessed:
            self._tasks.send(message.model_copy(update={"photos": list(result.batch.unprocessed)}))
        return result.batch

    def _bisect(self, message: BatchMessage) -> BatchResult:
        """Send both halves of a batch, to isolate the photo that crashes workers; alone, that photo fails."""
        if len(message.photos) == 1:
            failure = Failure(message.photos[0].uri, f"It crashed {MAX_CRASHES} workers.")
            return BatchResult(seen=1, failures=(failure,))
        for half in message.halves():
            self._tasks.send(half)
        return BatchResult()

    def _run(self, message: TaskMessage, cancellation: CancellationToken) -> ResultMessage | None:
        """Run one task and return its result; None if waiting was cancelled."""
        self._tasks.send(message)
        try:
            while not cancellation.cancelled:
                if finished := self._tasks.next_result(POLL_SECONDS):
                    _, result = finished
                    self._slowed_by = result.slowed_by or self._slowed_by
                    return result
            return None
        finally:
            self._tasks.revoke()
