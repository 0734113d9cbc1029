"""A batch of photos: read → decode → embed → upsert. The same code in this process and on a Celery worker."""

import hashlib
import os
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from retrieval.closing import Closing
from retrieval.embedder import Embedder
from retrieval.errors import UnreadablePhoto
from retrieval.images import DEFAULT_MAX_PIXELS, read_pixels
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.base import Vector, has_direction
from retrieval.photos import PhotoRef, display, photo_status, read_photo

BATCH = 64  # photos looked up and written at once
GROUP = 4  # photos embedded at once; larger groups are no faster on a CPU, and take more memory
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Failure:
    """A photo that could not be indexed, or a folder that could not be listed, and why."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: how many photos were seen, indexed and found unchanged, and those that failed.

    A photo that its sources name twice counts twice, and is one point with the label that came last; to remember
    every photo of a job would take too much memory.
    """

    seen: int
    indexed: int
    unchanged: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class DecodedRef:
    """A photo ready to be embedded: its name, its pixels uint8 [size, size, 3], and what the index shall keep."""

    ref: PhotoRef
    pixels: npt.NDArray[np.uint8]
    payload: Payload


# A photo after it was looked at; None: the index has it already.
Examined = DecodedRef | Failure | None
Embedded = Point | Failure | None
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

    def run(self, photos: Iterable[PhotoRef]) -> Iterator[Outcome]:
        """Index a stream of photos; an outcome means that its photos are durably in the index.

        Raises:
            IndexWriteFailed: the index refused; earlier outcomes stand.
        """
        prepared: deque[Prepared] = deque()
        for batch in batches(photos, BATCH):
            prepared.append(self.prepare(batch))
            if len(prepared) > 1:  # the threads have the next batch while this one is written
                yield self.store(prepared.popleft())
        while prepared:
            yield self.store(prepared.popleft())

    def prepare(self, photos: Sequence[PhotoRef]) -> Prepared:
        """Ask what the index knows of a batch, and set the threads to read, decode and embed the rest of it."""
        known = self._index.get([photo.id for photo in photos])
        return [self._threads.submit(self._embed_group, group, known) for group in batches(photos, GROUP)]

    def store(self, prepared: Prepared) -> Outcome:
        """Wait for a prepared batch and write it to the index."""
        results = [result for group in prepared for result in group.result()]
        points = [result for result in results if isinstance(result, Point)]
        failures = tuple(result for result in results if isinstance(result, Failure))
        self._index.upsert(points)
        return Outcome(len(results), len(points), sum(result is None for result in results), failures)

    def close(self) -> None:
        """Give up what the threads have not begun, and end them."""
        self._threads.shutdown(cancel_futures=True)

    def _embed_group(self, photos: Sequence[PhotoRef], known: Mapping[uuid.UUID, Payload]) -> list[Embedded]:
        examined = [self._examine(photo, known.get(photo.id)) for photo in photos]
        decoded = [photo for photo in examined if isinstance(photo, DecodedRef)]
        others: list[Embedded] = [photo for photo in examined if not isinstance(photo, DecodedRef)]
        if not decoded:
            return others
        vectors = self._embedder.embed(np.stack([photo.pixels for photo in decoded]))
        return others + [_point(photo, vector) for photo, vector in zip(decoded, vectors, strict=True)]

    def _examine(self, photo: PhotoRef, known: Payload | None) -> Examined:
        try:
            if known is not None and _is_unchanged(photo, known):
                return None
            return self._decode(photo)
        except UnreadablePhoto as error:
            return Failure(photo.uri, str(error))
        except Exception as error:  # whatever a decoder makes of a hostile file, it must not stop the job
            return Failure(photo.uri, f"It can't be decoded ({type(error).__name__}: {error}).")

    def _decode(self, photo: PhotoRef) -> DecodedRef:
        data, status = _read_at_rest(photo.path)
        decoded = read_pixels(data, self._embedder.bundle.resize, self._max_pixels)
        payload = Payload(
            uri=photo.uri,
            label=photo.label,
            sha256=hashlib.sha256(data).hexdigest(),
            width=decoded.width,
            height=decoded.height,
            bytes=len(data),
            modified_at=_modified_at(status),
            indexed_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        return DecodedRef(photo, decoded.pixels, payload)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _point(photo: DecodedRef, vector: Vector) -> Embedded:
    if not has_direction(vector):
        return Failure(photo.ref.uri, "The model has no embedding for it; a photo of one colour may have none.")
    return Point(photo.ref.id, vector, photo.payload)


def _is_unchanged(photo: PhotoRef, known: Payload) -> bool:
    status = photo_status(photo.path)
    return (known.bytes, known.modified_at, known.label) == (status.st_size, _modified_at(status), photo.label)


def _read_at_rest(path: Path) -> tuple[bytes, os.stat_result]:
    """A file's content and its status, which was the same before and after reading; a second try where it was not."""
    for _ in range(2):
        before = photo_status(path)
        data = read_photo(path)
        after = photo_status(path)
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size) == (after.st_mtime_ns, len(data)):
            return data, after
    raise UnreadablePhoto(f"{display(path)} changes while it is read.", "Index again when it is complete.")


def _modified_at(status: os.stat_result) -> str:
    return (EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)).isoformat(timespec="microseconds")
