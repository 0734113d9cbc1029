"""A batch of photos: read → decode → embed → upsert. The same code in this process and on a Celery worker.

Each batch has one time, which is its photos' `indexed_at`. A batch that is done again, because its worker was lost
before it could answer, finds its own time in the index, and counts what it finds as indexed: by itself, an hour ago or
on another machine, whatever the clocks say.
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
from retrieval.embedder import Embedder
from retrieval.errors import UnreadablePhoto
from retrieval.images import DEFAULT_MAX_PIXELS, read_pixels
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.base import Vector, has_direction
from retrieval.photo_ref import FileStatus, PhotoRef, display
from retrieval.stores import photo_status, read_photo

BATCH = 64  # photos looked up and written at once
GROUP = 4  # photos embedded at once; larger groups are no faster on a CPU, and take more memory

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo that could not be indexed, or a folder that could not be listed, and why."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: how many photos were seen, indexed and found unchanged, and those that failed.

    A photo that its sources name twice counts twice, and is one point with the label that came last; to remember
    every photo of a job would take too much memory. Photos that are `unprocessed`, for lack of time, do not count.
    """

    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    failures: tuple[Failure, ...] = ()
    unprocessed: tuple[PhotoRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A photo that the index must take up: its pixels, uint8 [size, size, 3], and what the index shall keep of it.

    No pixels: the photo is the one that the index has, and only what is kept of it changes.
    """

    photo: uuid.UUID
    payload: Payload
    pixels: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A photo that the index has as it is, and whether this very batch put it there, before it was done again."""

    by_this_batch: bool


Examined = Changed | Unchanged | Failure
Embedded = Point | Unchanged | Failure | PhotoRef  # a reference: nobody had time to look at it
Prepared = list[Future[list[Embedded]]]


class BatchIndexer(Closing):
    """Puts photos into an index, several groups of photos at a time, each from file to vector on one thread.

    So decoding and embedding share the cores as they need them. With a thread to a core, a photo takes 10 ms of
    processor time (MobileNetV2, two cores); embedding on all cores at once beside decoding threads takes 12 to 15,
    which go into waiting for each other.

    Build it in the process that uses it: neither its threads nor its embedder survive a fork.

    Args:
        embedder: the model, on one thread.
        index: its index.
        max_pixels: larger photos fail.
        threads: how many groups are worked on at a time.
    """

    def __init__(
        self, embedder: Embedder, index: VectorIndex, max_pixels: int = DEFAULT_MAX_PIXELS, threads: int = 1
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")

    def run(self, photos: Iterable[PhotoRef]) -> Iterator[BatchResult]:
        """Index a stream of photos; an outcome means that its photos are durably in the index.

        Raises:
            IndexWriteFailed: the index refused; earlier outcomes stand.
        """
        prepared: deque[Prepared] = deque()
        for batch in batches(photos, BATCH):
            prepared.append(self.prepare(batch, now()))
            if len(prepared) > 1:  # the threads have the next batch while this one is written
                yield self.store(prepared.popleft())
        while prepared:
            yield self.store(prepared.popleft())

    def prepare(self, photos: Sequence[PhotoRef], time: str, until: float = math.inf) -> Prepared:
        """Ask what the index knows of a batch, and set the threads to read, decode and embed the rest of it.

        Args:
            photos: the batch.
            time: the batch's own, see `now`.
            until: what is not begun at this reading of the monotonic clock, in seconds, is left.
        """
        known = self._index.get([photo.id for photo in photos])
        return [self._threads.submit(self._embed_group, group, known, time, until) for group in batches(photos, GROUP)]

    def store(self, prepared: Prepared) -> BatchResult:
        """Wait for a prepared batch and write it to the index."""
        results = [result for group in prepared for result in group.result()]
        points = [result for result in results if isinstance(result, Point)]
        unchanged = [result for result in results if isinstance(result, Unchanged)]
        failures = tuple(result for result in results if isinstance(result, Failure))
        unprocessed = tuple(result for result in results if isinstance(result, PhotoRef))
        self._index.upsert(points)
        before = sum(result.by_this_batch for result in unchanged)
        return BatchResult(
            seen=len(results) - len(unprocessed),
            indexed=len(points) + before,
            unchanged=len(unchanged) - before,
            failures=failures,
            unprocessed=unprocessed,
        )

    def close(self) -> None:
        """Give up what the threads have not begun, and end them."""
        self._threads.shutdown(cancel_futures=True)

    def _embed_group(
        self, photos: Sequence[PhotoRef], known: Mapping[uuid.UUID, Payload], time: str, until: float
    ) -> list[Embedded]:
        if monotonic() > until:
            return list(photos)
        examined = [self._examine(photo, known.get(photo.id), time) for photo in photos]
        changed = [photo for photo in examined if isinstance(photo, Changed)]
        others: list[Embedded] = [photo for photo in examined if not isinstance(photo, Changed)]
        if not changed:
            return others
        vectors = self._vectors(changed)
        return others + [_point(photo, vectors.get(photo.photo)) for photo in changed]

    def _vectors(self, photos: Sequence[Changed]) -> dict[uuid.UUID, Vector]:
        """The embeddings of new pixels, and those that the index has where the pixels are known."""
        new = [(photo.photo, photo.pixels) for photo in photos if photo.pixels is not None]
        old = [photo.photo for photo in photos if photo.pixels is None]
        vectors = self._index.vectors(old) if old else {}
        if new:
            names, pixels = zip(*new, strict=True)
            vectors |= zip(names, self._embedder.embed(np.stack(pixels)), strict=True)
        return vectors

    def _examine(self, photo: PhotoRef, known: Payload | None, time: str) -> Examined:
        try:
            if known is not None and _is_at_rest(photo, known):
                return _kept(photo, known, replace(known, label=photo.label, extra=photo.extra), time)
            return self._read(photo, known, time)
        except UnreadablePhoto as error:
            return Failure(photo.uri, str(error))
        except Exception as error:  # whatever a decoder makes of a hostile file, it must not stop the job
            return Failure(photo.uri, f"It can't be decoded ({type(error).__name__}: {error}).")

    def _read(self, photo: PhotoRef, known: Payload | None, time: str) -> Examined:
        data, status = _content(photo)
        stays: dict[str, Any] = {
            "label": photo.label,
            "extra": photo.extra,
            "bytes": len(data),
            "modified_at": status.modified_at,
            "etag": status.etag,
        }
        sha256 = hashlib.sha256(data).hexdigest()
        if known is not None and known.sha256 == sha256:
            return _kept(photo, known, replace(known, **stays), time)
        decoded = read_pixels(data, self._embedder.bundle.resize, self._max_pixels)
        stays |= {"width": decoded.width, "height": decoded.height}
        payload = Payload(uri=photo.uri, sha256=sha256, indexed_at=time, **stays)
        return Changed(photo.id, payload, decoded.pixels)


def now() -> str:
    """The time, ISO 8601 in UTC; finer than any two batches are apart."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _point(photo: Changed, vector: Vector | None) -> Embedded:
    if vector is None or not has_direction(vector):
        return Failure(photo.payload.uri, "The model has no embedding for it; a photo of one colour may have none.")
    return Point(photo.photo, vector, photo.payload)


def _kept(photo: PhotoRef, known: Payload, payload: Payload, time: str) -> Unchanged | Changed:
    """What becomes of a photo whose content the index has: nothing, or another label, time or the like is written."""
    if payload == known:
        return Unchanged(known.indexed_at == time)
    return Changed(photo.id, replace(payload, indexed_at=time), None)


def _is_at_rest(photo: PhotoRef, known: Payload) -> bool:
    """Whether a photo's file is, by its status, the one that the index knows."""
    status = photo.status or photo_status(photo)
    return status.is_sure and status == FileStatus(known.bytes, known.modified_at, known.etag)


def _content(photo: PhotoRef) -> tuple[bytes, FileStatus]:
    """A photo's content, and a status of its file from before it was read.

    A file on this machine that has another status afterwards is read once more. A photo in a store that changed since
    will have another status the next time.
    """
    if not photo.is_local:
        status = photo.status or photo_status(photo)
        return read_photo(photo), status
    for _ in range(2):
        before = photo_status(photo)
        data = read_photo(photo)
        if before == photo_status(photo) and before.size == len(data):
            return data, before
    raise UnreadablePhoto(f"{display(photo.path)} changes while it is read.", "Index again when it is complete.")
