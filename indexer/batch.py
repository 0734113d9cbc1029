"""A batch of photos: read → decode → embed → upsert, in the job's process or on a Celery worker.

The time of a batch identifies it: its photos get it as `indexed_at`. If a worker crashes after writing and before
reporting, the batch is run again; photos that carry its time already then count as indexed rather than unchanged.
"""

import hashlib
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from indexer.batch_writing import BatchWriter, Displaced, Embedded, Excluded, Exclusive, Kept, Link, Moved, Written
from indexer.batches import batches
from indexer.corrections import Corrections
from indexer.decoder_version import payload_if_alike
from indexer.identity import keeps_other_label, listed, moved
from indexer.index_columns import ColumnsSoFar, IndexColumns, JobColumns
from indexer.known_photos import Known, KnownPhotos, is_same_file
from retrieval.closing import Closing
from retrieval.columns.capture import captured
from retrieval.columns.kinds import Kind
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

NO_COLUMNS = JobColumns()
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
    unprocessed: tuple[PhotoRef, ...] = ()  # photos that were not started in time
    labels_kept: int = 0  # photos that keep a label in the index that differs from the name of their folder
    ignored_profiles: int = 0  # embedded photos with a colour profile that can't be used
    slowed_by: str | None = None  # what slowed the batch down, for example a server that limits the rate of requests
    columns: dict[str, Kind] = field(default_factory=dict)  # the kinds with which the columns of the job are indexed


@dataclass(frozen=True, slots=True)
class _New:
    """A photo with a URI that is not indexed, or that has changed, and its content."""

    photo: PhotoRef
    data: bytes
    payload: Payload  # without width and height
    former: IndexedPhoto | None  # what the index has in its place


@dataclass(frozen=True, slots=True)
class _Pending:
    """A photo to be embedded: its payload as a new photo, and its pixels, uint8 [size, size, 3]."""

    photo: PhotoRef
    payload: Payload
    pixels: npt.NDArray[np.uint8]
    former: IndexedPhoto | None  # what the index has in its place
    ignores_profile: bool
    is_excluded: bool  # whether a person has removed its content from the index of another model


@dataclass(frozen=True, slots=True)
class _Excluded:
    """A photo that a person has removed from the index."""

    uri: str


_Result = Written | _Excluded | Failure | PhotoRef  # of a photo; a PhotoRef is unprocessed
_Examined = _Result | _Pending


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch that is being read, decoded and embedded, and the time that identifies it."""

    time: str
    labels_kept: frozenset[str]  # the URIs of photos that keep a label that differs from the name of their folder
    columns: dict[str, Kind]  # the kinds with which the columns of the job are indexed
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
        exclusive: returns a context in which no other process writes to the index; needed if there are several.
        corrections: what persons corrected, which replaces what sources say; None for an index without any.
    """

    def __init__(
        self,
        embedder: Embedder,
        index: VectorIndex,
        decoder: PhotoDecoder,
        threads: int = 1,
        *,
        heeds_removals: bool = True,
        exclusive: Exclusive = nullcontext,
        corrections: Corrections | None = None,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._decoder = decoder
        self._known = KnownPhotos(index, heeds_removals=heeds_removals)
        self._columns = IndexColumns(index)
        self._corrections = corrections
        self._writer = BatchWriter(index, self._applied, partial(_uncorrected, exclusive, corrections))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        self._group = embedder.session.provider.batch
        self._batch = max(BATCH, threads * self._group)

    def run(self, photos: Iterable[PhotoRef], columns: ColumnsSoFar = JobColumns) -> Iterator[BatchResult]:
        """Index a stream of photos, and yield the result of each batch once its points are written.

        `columns` returns what is known of the columns of the photos that were listed so far.
        Raises `IndexWriteFailed` if the index can't be written; the batches before are indexed.
        """
        prepared: deque[PreparedBatch] = deque()
        for batch in batches(photos, self._batch):
            prepared.append(self.prepare(batch, now(), columns=columns()))
            if len(prepared) > 1:  # the threads work on the next batch while this one is written
                yield self.store(prepared.popleft())
        while prepared:
            yield self.store(prepared.popleft())

    def prepare(
        self, photos: Sequence[PhotoRef], time: str, seconds: float = math.inf, columns: JobColumns = NO_COLUMNS
    ) -> PreparedBatch:
        """Look the photos up in the index, and start reading, decoding and embedding those that are new or changed.

        Args:
            time: identifies the batch, see `now`.
            seconds: after which no group of photos is started, counted from when all were looked up: each batch makes
                progress, even if a server limits the rate of requests.
            columns: what is known of the columns of the photos.
        """
        kinds = self._columns.learn(columns)
        known = self._index.named([photo.uri for photo in photos])
        excluded = self._known.excluded([photo for photo in photos if photo.uri not in known])
        kept = (
            photo.uri
            for photo in photos
            if photo.uri in known
            and keeps_other_label(photo, known[photo.uri].payload)
            and not self._is_corrected(known[photo.uri].payload)
        )
        groups, deadline = batches(photos, self._group), monotonic() + seconds
        embedding = [
            self._threads.submit(self._embed_group, group, known, excluded, time, deadline) for group in groups
        ]
        return PreparedBatch(time, frozenset(kept), kinds, embedding)

    def store(self, prepared: PreparedBatch) -> BatchResult:
        """Wait for a prepared batch, write it to the index, and flush it, so that its result may be acknowledged."""
        try:
            results = [result for group in prepared.groups for result in group.result()]
            result = self._store(results)
            kept = prepared.labels_kept - {photo.uri for photo in result.unprocessed}
            return replace(result, labels_kept=len(kept), columns=prepared.columns)
        finally:
            self._known.release(prepared.time)

    def close(self) -> None:
        """Cancel the groups that are not started, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _store(self, results: Sequence[_Result]) -> BatchResult:
        excluded = tuple(
            result.uri if isinstance(result, _Excluded) else result.point.payload.uri
            for result in results
            if isinstance(result, _Excluded | Excluded)
        )
        unprocessed = tuple(result for result in results if isinstance(result, PhotoRef))
        failures = tuple(result for result in results if isinstance(result, Failure))
        written = [result for result in results if isinstance(result, Written)]
        self._writer.write(written)
        counts = Counter(_counted(result) for result in written)
        return BatchResult(
            seen=len(failures) + counts["indexed"] + counts["unchanged"] + counts["moved"],
            indexed=counts["indexed"],
            unchanged=counts["unchanged"],
            moved=counts["moved"],
            excluded=excluded,
            failures=failures,
            unprocessed=unprocessed,
            ignored_profiles=sum(isinstance(one, Embedded) and one.ignores_profile for one in written),
            slowed_by=self._index.slowed_by(),
        )

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
        examined: list[_Examined] = [_Excluded(photo.uri) for photo in photos if photo.uri in excluded]
        for some in batches([photo for photo in photos if photo.uri not in excluded], READ_AT_ONCE):
            examined += self._examine(some, known, time)
        pending = [result for result in examined if isinstance(result, _Pending)]
        finished = [result for result in examined if not isinstance(result, _Pending)]
        if not pending:
            return finished
        vectors = self._embedder.embed(np.stack([point.pixels for point in pending]))
        return finished + [_embedded(point, vector) for point, vector in zip(pending, vectors, strict=True)]

    def _examine(self, photos: Sequence[PhotoRef], known: Mapping[str, IndexedPhoto], time: str) -> list[_Examined]:
        """Find out what to do with each photo; new and changed ones are read and decoded."""
        examined = [_caught(photo, partial(self._look, photo, known, time)) for photo in photos]
        new = [one for one in examined if isinstance(one, _New)]
        relatives = self._known.relatives([(one.photo, one.payload.sha256) for one in new], time) if new else {}
        results: list[_Examined] = [one for one in examined if not isinstance(one, _New)]
        for one in new:
            relative = relatives.get(one.photo.uri)
            result = _caught(one.photo, partial(self._resolve, one, relative))
            results.append(result)
            is_other = relative is not None or (isinstance(result, _Pending) and result.is_excluded)
            if is_other and one.former is not None:
                results.append(Displaced(one.former))
        return results

    def _look(self, photo: PhotoRef, known: Mapping[str, IndexedPhoto], time: str) -> Kept | Link | _New | _Pending:
        """Compare a photo with what the index has under its URI."""
        found = known.get(photo.uri)
        if found is not None and found.payload.uri != photo.uri:
            if is_same_file(photo.uri, found.payload.uri):
                return Link(found.id, photo)
            found = None  # the link has been replaced by a file
        if found is not None and _has_same_status(photo, found.payload):
            alike = payload_if_alike(photo, found.payload, places=self._columns.asks_for_places)
            if alike is not None:
                return self._same_content(found, listed(photo, alike), time)
        return self._read(photo, found, time)

    def _read(self, photo: PhotoRef, found: IndexedPhoto | None, time: str) -> Kept | Link | _New | _Pending:
        data, status = _content(photo, self._decoder.policy.max_bytes)
        sha256 = hashlib.sha256(data).hexdigest()
        fields: dict[str, Any] = {"bytes": len(data), "modified_at": status.modified_at, "etag": status.etag}
        if found is not None and found.payload.sha256 == sha256:
            fields |= {"columns": {**found.payload.columns, **captured(data)}}
            if looks_different(data[:HEAD], lambda: data, found.payload.decoder):
                fields |= {"indexed_at": time}
                return self._decode(_New(photo, data, replace(listed(photo, found.payload), **fields), found))
            fields |= {"decoder": VERSION}
            return self._same_content(found, replace(listed(photo, found.payload), **fields), time)
        payload = Payload(
            uri=photo.uri,
            label=photo.label,
            sha256=sha256,
            width=0,
            height=0,
            indexed_at=time,
            extra=photo.extra,
            sources=() if photo.source is None else (photo.source,),
            columns=captured(data),
            **fields,
        )
        return _New(photo, data, payload, found)

    def _resolve(self, new: _New, relative: Known | None) -> Moved | Link | _Excluded | _Pending:
        """Decode a new or changed photo, unless the index has its content under another URI."""
        if relative is None:
            return self._decode(new, is_excluded=self._known.is_excluded(new.payload.sha256, new.payload.indexed_at))
        photo = relative.photo
        if relative.relation == "link":
            return Link(photo.id, new.photo)
        if relative.relation == "excluded":
            return _Excluded(new.photo.uri)
        is_back = photo.payload.removed_by == "sync"
        return Moved(photo, moved(new.photo, new.payload, photo.payload), "indexed" if is_back else "moved")

    def _decode(self, new: _New, *, is_excluded: bool = False) -> _Pending:
        decoded = self._decoder.read_pixels(new.data, self._embedder.bundle.resize)
        payload = replace(new.payload, width=decoded.width, height=decoded.height, decoder=VERSION)
        return _Pending(new.photo, payload, decoded.pixels, new.former, decoded.ignores_profile, is_excluded)

    def _same_content(self, found: IndexedPhoto, payload: Payload, time: str) -> Kept:
        """Return what to do with a photo if its content is indexed: nothing, or replace its payload."""
        known, payload = found.payload, self._applied(payload)
        if replace(payload, sources=known.sources, decoder=known.decoder, columns=known.columns) != known:
            return Kept(found.id, replace(payload, indexed_at=time), "indexed")
        by_this_batch = known.indexed_at == time
        return Kept(found.id, payload if payload != known else None, "indexed" if by_this_batch else "unchanged")

    def _applied(self, photo: Payload) -> Payload:
        corrected = photo if self._corrections is None else self._corrections.applied(photo)
        if corrected is not photo:
            self._columns.learn_values(corrected.extra)
        return self._columns.applied(corrected)

    def _is_corrected(self, photo: Payload) -> bool:
        return photo.confirmed or (self._corrections is not None and self._corrections.sets_label(photo))


@contextmanager
def _uncorrected(exclusive: Exclusive, corrections: Corrections | None) -> Iterator[None]:
    """Within the context, neither another process writes to the index, nor is a photo corrected."""
    with exclusive(), nullcontext() if corrections is None else corrections.locked():
        yield


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


def _embedded(pending: _Pending, vector: Vector) -> Embedded | Excluded | Failure:
    if not has_direction(vector):
        return Failure(pending.payload.uri, "The model has no embedding for it; a photo of one colour may have none.")
    point = Point(photo_id(pending.payload.uri), vector, pending.payload)
    if pending.is_excluded:
        return Excluded(point)
    return Embedded(pending.photo, point, pending.former, pending.ignores_profile)


def _counted(change: Written) -> str | None:
    """Return as what a photo counts; None for one that is not listed."""
    match change:
        case Kept() | Moved():
            return change.counted
        case Embedded():
            return "indexed"
        case Link():
            return "unchanged"
        case Displaced() | Excluded():
            return None


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
