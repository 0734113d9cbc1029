"""A batch of photos: read → decode → embed → upsert, in the job's process or on a Celery worker.

The time of a batch identifies it: its photos get it as `indexed_at`. If a worker crashes after writing and before
reporting, the batch is run again; photos that carry its time already then count as indexed rather than unchanged.
"""

import hashlib
import math
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import UnreadablePhoto
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.vectors import Vector, has_direction
from retrieval.photo_ref import FileStatus, PhotoRef, display
from retrieval.stores import Failure, photo_status, read_photo

BATCH = 64  # photos looked up and written at once; more if an accelerator embeds larger groups

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The counts of a batch, and the photos that failed.

    A photo that is listed twice counts twice and is one point, with the label that was listed last; remembering every
    photo of a job would take too much memory.
    """

    seen: int = 0  # photos processed, `unprocessed` excluded
    indexed: int = 0
    unchanged: int = 0  # photos that the index has already
    failures: tuple[Failure, ...] = ()
    unprocessed: tuple[PhotoRef, ...] = ()  # photos that were not started before the deadline
    slowed_by: str | None = None  # what slowed the batch down, for example a server that limits the rate of requests


@dataclass(frozen=True, slots=True)
class _Pending:
    """A point to be written: its payload, and the pixels to embed, uint8 [size, size, 3]; None to keep its vector."""

    id: uuid.UUID
    payload: Payload
    pixels: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """A photo that the index has already, and whether an earlier run of the same batch wrote it."""

    by_this_batch: bool


_Result = Point | _Unchanged | Failure | PhotoRef  # of a photo; a PhotoRef is unprocessed
PreparedBatch = list[Future[list[_Result]]]


class BatchIndexer(Closing):
    """Indexes photos in groups; a pool of threads takes each group from file to vector on one thread.

    With one thread per core, a photo takes 10 ms of CPU time (MobileNetV2, two cores). Decoding threads beside an
    embedder of several threads take 12 to 15 ms, since they wait for each other.

    Create it in the process that uses it: neither its threads nor its embedder survive a fork.

    Args:
        embedder: the model, on one thread.
        threads: how many groups are worked on at a time.
    """

    def __init__(self, embedder: Embedder, index: VectorIndex, decoder: PhotoDecoder, threads: int = 1) -> None:
        self._embedder = embedder
        self._index = index
        self._decoder = decoder
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._group = embedder.session.provider.batch
        self._batch = max(BATCH, threads * self._group)

    def run(self, photos: Iterable[PhotoRef]) -> Iterator[BatchResult]:
        """Index a stream of photos, and yield the result of each batch once its points are written.

        Raises `IndexWriteFailed` if the index can't be written; the batches before are indexed.
        """
        prepared: deque[PreparedBatch] = deque()
        for batch in batches(photos, self._batch):
            prepared.append(self.prepare(batch, now()))
            if len(prepared) > 1:  # the threads work on the next batch while this one is written
                yield self.store(prepared.popleft())
        while prepared:
            yield self.store(prepared.popleft())

    def prepare(self, photos: Sequence[PhotoRef], time: str, deadline: float = math.inf) -> PreparedBatch:
        """Look the photos up in the index, and start reading, decoding and embedding those that are new or changed.

        Args:
            time: identifies the batch, see `now`.
            deadline: seconds on the monotonic clock after which no group of photos is started.
        """
        known = self._index.get([photo.id for photo in photos])
        groups = batches(photos, self._group)
        return [self._threads.submit(self._embed_group, group, known, time, deadline) for group in groups]

    def store(self, prepared: PreparedBatch) -> BatchResult:
        """Wait for a prepared batch, write it to the index, and flush it, so that its result may be acknowledged."""
        results = [result for group in prepared for result in group.result()]
        points = [result for result in results if isinstance(result, Point)]
        unchanged = [result for result in results if isinstance(result, _Unchanged)]
        failures = tuple(result for result in results if isinstance(result, Failure))
        unprocessed = tuple(result for result in results if isinstance(result, PhotoRef))
        self._index.upsert(points)
        self._index.flush()
        before = sum(result.by_this_batch for result in unchanged)
        return BatchResult(
            seen=len(results) - len(unprocessed),
            indexed=len(points) + before,
            unchanged=len(unchanged) - before,
            failures=failures,
            unprocessed=unprocessed,
            slowed_by=self._index.slowed_by(),
        )

    def close(self) -> None:
        """Cancel the groups that are not started, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _embed_group(
        self, photos: Sequence[PhotoRef], known: Mapping[uuid.UUID, Payload], time: str, deadline: float
    ) -> list[_Result]:
        if monotonic() > deadline:
            return list(photos)
        examined = [self._examine(photo, known.get(photo.id), time) for photo in photos]
        pending = [result for result in examined if isinstance(result, _Pending)]
        finished: list[_Result] = [result for result in examined if not isinstance(result, _Pending)]
        if not pending:
            return finished
        vectors = self._vectors(pending)
        return finished + [_point(point, vectors.get(point.id)) for point in pending]

    def _vectors(self, pending: Sequence[_Pending]) -> dict[uuid.UUID, Vector]:
        """Embed new pixels; read the vectors of known pixels from the index."""
        new = [(point.id, point.pixels) for point in pending if point.pixels is not None]
        old = [point.id for point in pending if point.pixels is None]
        vectors = self._index.vectors(old) if old else {}
        if new:
            ids, pixels = zip(*new, strict=True)
            vectors |= zip(ids, self._embedder.embed(np.stack(pixels)), strict=True)
        return vectors

    def _examine(self, photo: PhotoRef, known: Payload | None, time: str) -> _Pending | _Unchanged | Failure:
        try:
            if known is not None and _has_same_status(photo, known):
                return _same_content(photo, known, replace(known, label=photo.label, extra=photo.extra), time)
            return self._read(photo, known, time)
        except UnreadablePhoto as error:
            return Failure(photo.uri, str(error))
        except Exception as error:  # no exception that a hostile file causes in a decoder may stop the job
            return Failure(photo.uri, f"It can't be decoded ({type(error).__name__}: {error}).")

    def _read(self, photo: PhotoRef, known: Payload | None, time: str) -> _Pending | _Unchanged:
        data, status = _content(photo, self._decoder.policy.max_bytes)
        fields: dict[str, Any] = {
            "label": photo.label,
            "extra": photo.extra,
            "bytes": len(data),
            "modified_at": status.modified_at,
            "etag": status.etag,
        }
        sha256 = hashlib.sha256(data).hexdigest()
        if known is not None and known.sha256 == sha256:
            return _same_content(photo, known, replace(known, **fields), time)
        decoded = self._decoder.read_pixels(data, self._embedder.bundle.resize)
        fields |= {"width": decoded.width, "height": decoded.height}
        payload = Payload(uri=photo.uri, sha256=sha256, indexed_at=time, **fields)
        return _Pending(photo.id, payload, decoded.pixels)


def now() -> str:
    """Return the time, ISO 8601 in UTC, in microseconds, so that no two batches have the same."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _point(pending: _Pending, vector: Vector | None) -> Point | Failure:
    if vector is None or not has_direction(vector):
        return Failure(pending.payload.uri, "The model has no embedding for it; a photo of one colour may have none.")
    return Point(pending.id, vector, pending.payload)


def _same_content(photo: PhotoRef, known: Payload, payload: Payload, time: str) -> _Unchanged | _Pending:
    """Return what to do with a photo whose content is indexed: nothing, or write its changed payload."""
    if payload == known:
        return _Unchanged(known.indexed_at == time)
    return _Pending(photo.id, replace(payload, indexed_at=time), None)


def _has_same_status(photo: PhotoRef, known: Payload) -> bool:
    """Return whether the size and times of a photo's file are those in the index, so that it need not be read."""
    status = photo.status or photo_status(photo)
    return status.is_sure and status == FileStatus(known.bytes, known.modified_at, known.etag)


def _content(photo: PhotoRef, max_bytes: int) -> tuple[bytes, FileStatus]:
    """Read a photo of at most `max_bytes`; return its content, and the status of its file before it was read.

    A local file whose status changes meanwhile is read once more. A remote photo that changes meanwhile has another
    status in the next job, which reads it again.
    """
    if not photo.is_local:
        status = photo.status or photo_status(photo)
        return read_photo(photo, max_bytes), status
    for _ in range(2):
        before = photo_status(photo)
        data = read_photo(photo, max_bytes)
        if before == photo_status(photo) and before.size == len(data):
            return data, before
    raise UnreadablePhoto(f"{display(photo.path)} changes while it is read.", "Index again when it is complete.")
