"""A batch of photos: read → decode → embed → upsert, in the job's process or on a Celery worker.

The time of a batch identifies it: its photos get it as `indexed_at`. If a worker crashes after writing and before
reporting, the batch is run again; photos that carry its time already then count as indexed rather than unchanged.
"""

import hashlib
import math
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from indexer.batches import batches
from indexer.decoder_version import version_if_alike
from indexer.identity import add_names, described, keeps_other_label, listed, merge_links, moved, united, with_free_ids
from indexer.known_photos import Known, KnownPhotos, is_same_file
from indexer.removed_photos import restore_photos
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.decoding.version import HEAD, VERSION, looks_different
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError, UnreadablePhoto
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.index.vectors import Vector, has_direction
from retrieval.photo_ref import FileStatus, PhotoRef, display, photo_id
from retrieval.stores import Failure, photo_status, read_photo

BATCH = 64  # photos looked up and written at once; more if an accelerator embeds larger groups

READ_AT_ONCE = 8  # photos of a group in memory at the same time

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The counts of a batch, and the photos that failed.

    A photo that is listed twice counts twice and is one point, with the label that was listed last; remembering every
    photo of a job would take too much memory.
    """

    seen: int = 0  # photos processed, `unprocessed` excluded: indexed, unchanged, moved and failed ones
    indexed: int = 0
    unchanged: int = 0  # photos that the index has already, and further names of such photos
    moved: int = 0  # photos that the index has under a URI where they are no longer
    excluded: tuple[str, ...] = ()  # the URIs of photos that a person has removed; `seen` excludes them
    failures: tuple[Failure, ...] = ()
    unprocessed: tuple[PhotoRef, ...] = ()  # photos that were not started before the deadline
    labels_kept: int = 0  # photos that keep a label in the index that differs from the name of their folder
    slowed_by: str | None = None  # what slowed the batch down, for example a server that limits the rate of requests


@dataclass(frozen=True, slots=True)
class _New:
    """A photo whose URI is not indexed, or that has changed, and its content."""

    photo: PhotoRef
    data: bytes
    payload: Payload  # without width and height
    former: IndexedPhoto | None  # its former version


@dataclass(frozen=True, slots=True)
class _Pending:
    """A point to be embedded: its payload, and its pixels, uint8 [size, size, 3]."""

    id: uuid.UUID
    payload: Payload
    pixels: npt.NDArray[np.uint8]
    is_new: bool  # False if the index has a former version of the photo under this id


@dataclass(frozen=True, slots=True)
class _Embedded:
    """A point to be written."""

    point: Point
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    """A photo that is indexed, and what to do with its payload."""

    id: uuid.UUID
    payload: Payload | None  # None to leave it
    counted: Literal["indexed", "unchanged", "moved"]


@dataclass(frozen=True, slots=True)
class _Link:
    """A further name of an indexed photo's file."""

    id: uuid.UUID
    photo: PhotoRef


@dataclass(frozen=True, slots=True)
class _Excluded:
    """A photo that a person has removed from the index."""

    uri: str


@dataclass(frozen=True, slots=True)
class _Restored:
    """A photo that a sync had removed, and that has come back."""

    photo: IndexedPhoto


_Known = _Kept | _Link | _Excluded | _Restored  # needs no embedding
_Result = _Known | _Embedded | Failure | PhotoRef  # of a photo; a PhotoRef is unprocessed


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch that is being read, decoded and embedded, and the time that identifies it."""

    time: str
    labels_kept: frozenset[str]  # the URIs of photos that keep a label that differs from the name of their folder
    groups: Sequence[Future[list[_Result]]]


class BatchIndexer(Closing):
    """Indexes photos in groups; a pool of threads takes each group from file to vector on one thread.

    With one thread per core, a photo takes 10 ms of CPU time (MobileNetV2, two cores). Decoding threads beside an
    embedder of several threads take 12 to 15 ms, since they wait for each other.

    Create it in the process that uses it: neither its threads nor its embedder survive a fork.

    Args:
        embedder: the model, on one thread.
        threads: how many groups are worked on at a time.
        heeds_removals: whether photos that a person removed are left out, and those that a sync removed restored.
    """

    def __init__(
        self,
        embedder: Embedder,
        index: VectorIndex,
        decoder: PhotoDecoder,
        threads: int = 1,
        *,
        heeds_removals: bool = True,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._decoder = decoder
        self._known = KnownPhotos(index, heeds_removals=heeds_removals)
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
        known = self._index.named([photo.uri for photo in photos])
        excluded = self._known.excluded([photo for photo in photos if photo.uri not in known])
        kept = (
            photo.uri for photo in photos if photo.uri in known and keeps_other_label(photo, known[photo.uri].payload)
        )
        groups = batches(photos, self._group)
        embedding = [
            self._threads.submit(self._embed_group, group, known, excluded, time, deadline) for group in groups
        ]
        return PreparedBatch(time, frozenset(kept), embedding)

    def store(self, prepared: PreparedBatch) -> BatchResult:
        """Wait for a prepared batch, write it to the index, and flush it, so that its result may be acknowledged."""
        try:
            results = [result for group in prepared.groups for result in group.result()]
            result = self._store(results)
            return replace(result, labels_kept=len(prepared.labels_kept - {photo.uri for photo in result.unprocessed}))
        finally:
            self._known.release(prepared.time)

    def close(self) -> None:
        """Cancel the groups that are not started, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _store(self, results: Sequence[_Result]) -> BatchResult:
        embedded = [result for result in results if isinstance(result, _Embedded)]
        kept = [result for result in results if isinstance(result, _Kept)]
        links = [(result.id, result.photo) for result in results if isinstance(result, _Link)]
        unprocessed = tuple(result for result in results if isinstance(result, PhotoRef))
        restored = [result.photo for result in results if isinstance(result, _Restored)]
        excluded = tuple(result.uri for result in results if isinstance(result, _Excluded))
        self._write(embedded, kept, links, restored)
        counts = Counter(result.counted for result in kept)
        return BatchResult(
            seen=len(results) - len(unprocessed) - len(excluded),
            indexed=len(embedded) + len(restored) + counts["indexed"],
            unchanged=len(links) + counts["unchanged"],
            moved=counts["moved"],
            excluded=excluded,
            failures=tuple(result for result in results if isinstance(result, Failure)),
            unprocessed=unprocessed,
            slowed_by=self._index.slowed_by(),
        )

    def _write(
        self,
        embedded: Sequence[_Embedded],
        kept: Sequence[_Kept],
        links: Sequence[tuple[uuid.UUID, PhotoRef]],
        restored: Sequence[IndexedPhoto],
    ) -> None:
        # Photos that moved are written first: new ones may be in their former places.
        self._index.replace_payloads(united((one.id, one.payload) for one in kept if one.payload is not None))
        new = with_free_ids(self._index, [result.point for result in embedded if result.is_new])
        points = [*new, *(result.point for result in embedded if not result.is_new)]
        payloads = united((point.id, point.payload) for point in points)
        vectors = {point.id: point.vector for point in points}
        self._index.upsert([Point(photo, vectors[photo], payload) for photo, payload in payloads.items()])
        if restored:
            restore_photos(self._index, restored)
        add_names(self._index, links)
        merge_links(self._index, new)
        self._index.flush()

    def _embed_group(
        self,
        photos: Sequence[PhotoRef],
        known: Mapping[str, IndexedPhoto],
        excluded: frozenset[str],
        time: str,
        deadline: float,
    ) -> list[_Result]:
        if monotonic() > deadline:
            return list(photos)
        examined: list[_Result | _Pending] = [_Excluded(photo.uri) for photo in photos if photo.uri in excluded]
        for some in batches([photo for photo in photos if photo.uri not in excluded], READ_AT_ONCE):
            examined += self._examine(some, known, time)
        pending = [result for result in examined if isinstance(result, _Pending)]
        finished = [result for result in examined if not isinstance(result, _Pending)]
        if not pending:
            return finished
        vectors = self._embedder.embed(np.stack([point.pixels for point in pending]))
        return finished + [_embedded(point, vector) for point, vector in zip(pending, vectors, strict=True)]

    def _examine(
        self, photos: Sequence[PhotoRef], known: Mapping[str, IndexedPhoto], time: str
    ) -> list[_Result | _Pending]:
        """Find out what to do with each photo; new and changed ones are read and decoded."""
        examined = [_caught(photo, partial(self._look, photo, known, time)) for photo in photos]
        new = [(one.photo, one.payload.sha256) for one in examined if isinstance(one, _New) and one.former is None]
        relatives = self._known.relatives(new, time) if new else {}
        return [
            _caught(result.photo, partial(self._resolve, result, relatives.get(result.photo.uri)))
            if isinstance(result, _New)
            else result
            for result in examined
        ]

    def _look(self, photo: PhotoRef, known: Mapping[str, IndexedPhoto], time: str) -> _Known | _New | _Pending:
        """Compare a photo with what the index has under its URI."""
        found = known.get(photo.uri)
        if found is not None and found.payload.uri != photo.uri:
            if is_same_file(photo.uri, found.payload.uri):
                return _Link(found.id, photo)
            found = None  # the link has been replaced by a file
        if found is not None and _has_same_status(photo, found.payload):
            version = version_if_alike(photo, found.payload.decoder)
            if version is not None:
                return _same_content(found, replace(listed(photo, found.payload), decoder=version), time)
        return self._read(photo, found, time)

    def _read(self, photo: PhotoRef, found: IndexedPhoto | None, time: str) -> _Known | _New | _Pending:
        data, status = _content(photo, self._decoder.policy.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        fields: dict[str, Any] = {"bytes": len(data), "modified_at": status.modified_at, "etag": status.etag}
        if found is not None and found.payload.sha256 == sha256:
            if looks_different(data[:HEAD], lambda: data, found.payload.decoder):
                fields |= {"indexed_at": time}
                return self._decode(replace(listed(photo, found.payload), **fields), data, found.id)
            fields |= {"decoder": VERSION}
            return _same_content(found, replace(listed(photo, found.payload), **fields), time)
        payload = Payload(
            uri=photo.uri,
            label=photo.label,
            sha256=sha256,
            width=0,
            height=0,
            indexed_at=time,
            extra=photo.extra,
            sources=() if photo.source is None else (photo.source,),
            **fields,
        )
        return _New(photo, data, payload, found)

    def _resolve(self, new: _New, relative: Known | None) -> _Known | _Pending:
        """Decode a new photo, unless the index has it under another URI.

        A changed photo keeps its point, unless what was there before has moved and takes it along.
        """
        if new.former is not None and self._known.claim(new.former.id, new.payload.indexed_at):
            kept = described(new.photo, new.former.payload)
            payload = replace(new.payload, label=kept.label, extra=kept.extra, also_at=kept.also_at)
            return self._decode(payload, new.data, new.former.id)
        if relative is None:
            return self._decode(new.payload, new.data)
        photo, known = relative.photo.id, relative.photo.payload
        if relative.relation == "link":
            return _Link(photo, new.photo)
        if relative.relation == "excluded":
            return _Excluded(new.photo.uri)
        if relative.relation == "removed":
            return _Restored(IndexedPhoto(photo, moved(new.photo, new.payload, known)))
        return _Kept(photo, moved(new.photo, new.payload, known), "moved")

    def _decode(self, payload: Payload, data: bytes, photo: uuid.UUID | None = None) -> _Pending:
        """Decode a photo to be embedded as a new point, or as that of the given id."""
        decoded = self._decoder.read_pixels(data, self._embedder.bundle.resize)
        payload = replace(payload, width=decoded.width, height=decoded.height, decoder=VERSION)
        return _Pending(photo or photo_id(payload.uri), payload, decoded.pixels, is_new=photo is None)


def now() -> str:
    """Return the time, ISO 8601 in UTC, in microseconds, so that no two batches have the same."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _caught(photo: PhotoRef, work: Callable[[], Result]) -> Result | Failure:
    """Do a part of the work on a photo; return why it failed instead of raising an exception."""
    try:
        return work()
    except UnreadablePhoto as error:
        return Failure(photo.uri, str(error))
    except LookalikeError:
        raise
    except Exception as error:  # no exception that a hostile file causes in a decoder may stop the job
        return Failure(photo.uri, f"It can't be decoded ({type(error).__name__}: {error}).")


def _embedded(pending: _Pending, vector: Vector) -> _Embedded | Failure:
    if not has_direction(vector):
        return Failure(pending.payload.uri, "The model has no embedding for it; a photo of one colour may have none.")
    return _Embedded(Point(pending.id, vector, pending.payload), pending.is_new)


def _same_content(found: IndexedPhoto, payload: Payload, time: str) -> _Kept:
    """Return what to do with a photo whose content is indexed: nothing, or replace its payload."""
    known = found.payload
    if replace(payload, sources=known.sources, decoder=known.decoder) != known:
        return _Kept(found.id, replace(payload, indexed_at=time), "indexed")
    by_this_batch = known.indexed_at == time
    return _Kept(found.id, payload if payload != known else None, "indexed" if by_this_batch else "unchanged")


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
