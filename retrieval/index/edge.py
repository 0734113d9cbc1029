"""The embedded index: a Qdrant Edge shard in this process.

A search compares the query with every point until `optimize` has built a graph (HNSW): in a new shard, by a separate
process (`retrieval.index.graph`), while searches and writes continue. The description of the index,
`index.json`, names the shard in use and is replaced atomically; so a process that is killed at any moment leaves either
the old shard or the new one, and each holds every point.

Edge is described at https://qdrant.tech/documentation/edge/ . A process locks the folder of an index before it reads
it; Edge's own lock comes too late for two processes that create an index at the same time.
"""

import errno
import json
import random
import re
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self, TypeVar

import qdrant_edge as qdrant

from retrieval.cancellation import CancellationToken
from retrieval.columns.kinds import Kind
from retrieval.errors import IndexUnreadable, IndexWriteFailed, LookalikeError
from retrieval.files import flush_tree, write_atomically
from retrieval.index import records
from retrieval.index.base import Hit, IndexedPhoto, IndexStore, Point, StoredPoints
from retrieval.index.conditions import Field
from retrieval.index.edge_filter import compiled, kind_of, payload_index
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.filtered_search import Nearest, filtered_search
from retrieval.index.folder import COUNT, DESCRIPTION, OPENING_BYTES, SPARE_BYTES, hold, release, require_space
from retrieval.index.graph import bring_up_to_date, build_graph
from retrieval.index.lookup import Lookup
from retrieval.index.payload import Payload
from retrieval.index.planned_search import OVERSAMPLING, PlannedSearch
from retrieval.index.shard import Batch, as_edge, batch_of, create_shard, stored_vector
from retrieval.index.vectors import LOOK, WHOLE, Vector
from retrieval.index.write_ahead_log import WriteAheadLog
from retrieval.photo_ref import Extra

Page = TypeVar("Page")

SHARD = "shard"
UNFINISHED = "unfinished"  # a shard that is being created
REMOVED = "removed"  # the folder of the index of removed points, in that of the index
LOOKUP = "lookup.sqlite"
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
MISSING = (errno.ENOENT, errno.ENOTDIR)
SYSTEM_REMEDIES = dict.fromkeys(
    (errno.EACCES, errno.EPERM), "Correct the permissions of that folder, or run this as the user who made it."
) | {
    errno.EROFS: "Its file system is read-only, and an index is locked while it is open: mount it for writing, or copy "
    "LOOKALIKE_HOME to a disk that can be written.",
    errno.ENOSPC: "Free disk space, then run the same command again.",
    errno.EMFILE: "Allow this process more open files (`ulimit -n`).",
    errno.ENOMEM: "Free memory, then run the same command again.",
}
SAMPLED_RANGES = 16
SENT_AT_ONCE = 200  # points sent to the process that builds a graph; reading them delays a search by milliseconds
WRITTEN_AT_ONCE = 1_000  # the points that are copied while writes wait
FEW_POINTS = 250_000  # the graph of more points is large: it has int8 vectors, and searches in it more candidates
MANY_POINTS = 2_000_000
RESCORED = qdrant.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
NOT_RESCORED = qdrant.QuantizationSearchParams(rescore=False)  # candidates that the whole vectors score later


class EmbeddedIndex(PlannedSearch):
    """The index of a model in one Edge shard.

    Args:
        folder: of the index; created if it does not exist.
        dimension: their length, if the index is new.
        look: length of their part look, if the index is new.

    Raises:
        IndexBusy: another process holds it.
        IndexUnreadable: it is damaged, or belongs to another user.
        IndexWriteFailed: the disk is full.
    """

    INDEXED_POINTS = 500  # from this number on, fields other than the label have payload indexes
    FILTERED_SCAN_POINTS = 100_000  # if at most this number of points match a filter, they are compared one by one
    MOST_SCANNED = 200_000  # the same if none of them is near the query; above it, the graph is traversed
    LARGE_FILTERED_EF = 7_168  # `FILTERED_EF` in a large graph

    def __init__(self, store: IndexStore, folder: Path, model: str, dimension: int, look: int = 0) -> None:
        super().__init__(store, model, dimension, look)
        self._folder = folder
        self._description = folder / DESCRIPTION
        self._place = folder / SHARD  # of the shard in use
        self._lock = threading.Lock()  # held while writing
        self._building = threading.Lock()  # held while building a graph
        self._closing = CancellationToken()
        self._written: set[uuid.UUID] = set()  # points written since the shard is read to build a graph
        self._unflushed = True  # whether this process, or one that was killed, has written since the last flush
        self._changes = 0  # points written or removed since the last graph was built
        self._has_int8 = False  # whether that graph has int8 vectors
        self._removed: EmbeddedIndex | None = None
        self._opening_removed = threading.Lock()
        self._few: bool | None = None  # whether there are few points; None: not counted since the last write
        with self._reading("opened"):
            require_space(folder, OPENING_BYTES)
            self._holder = hold(folder, store.address)
            try:
                self._lookup = Lookup(folder / LOOKUP)
                self._shard = self._open()
                self._log = WriteAheadLog(self._place)
            except BaseException:
                release(self._holder)
                raise

    def upsert(self, points: Sequence[Point]) -> None:
        """See `VectorIndex.upsert`; refuses before the disk is full."""
        if points:
            stored = [
                qdrant.Point(point.id, stored_vector(point.vector, self.look), point.payload.as_dict())
                for point in points
            ]
            self._remember((point.id, point.payload) for point in points)
            self._write(qdrant.UpdateOperation.upsert_points(stored), [point.id for point in points])

    def replace_payloads(self, payloads: Mapping[uuid.UUID, Payload]) -> None:
        """See `VectorIndex.replace_payloads`: sets what changed, since a new label moves a point out of the graph."""
        if not payloads:
            return
        before = self.get([*payloads])
        self._remember((photo, payload) for photo, payload in payloads.items() if photo in before)
        indexed = {field.partition(".")[0] for field in self._indexed()}
        changes: dict[str, _Change] = {}
        for photo, old in before.items():
            change = _Change.between(old.as_dict(), payloads[photo].as_dict())
            changes.setdefault(repr(change), change).photos.append(photo)
        for change in changes.values():
            moved = len(change.photos) if indexed & {*change.values, *change.gone} else 0
            for operation in change.operations():
                self._write(operation, change.photos, changes=moved)

    def delete(self, ids: Sequence[uuid.UUID]) -> None:
        if ids:
            self._write(qdrant.UpdateOperation.delete_points(list(ids)), ids)

    def flush(self) -> None:
        with self._lock, self._writing():
            if self._unflushed:
                self._log.flush()
                self._unflushed = False

    def get(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
        with self._reading():
            found = self._shard.retrieve(list(ids), with_payload=True, with_vector=False)
            return records.payloads(found)

    def vectors(self, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        with self._reading():
            found = self._shard.retrieve(list(ids), with_payload=False, with_vector=True)
            return records.vectors(found)

    def with_content(self, sha256s: Sequence[str]) -> dict[uuid.UUID, Payload]:
        wanted = frozenset(sha256s)
        return {photo: payload for photo, payload in self._looked_up(wanted).items() if payload.sha256 in wanted}

    def scroll(self, batch: int = 1000) -> Iterator[Point]:
        for points in self._pages(records.points, batch, with_payload=True, with_vector=self._whole):
            yield from points

    def scroll_stored(self, batch: int = 1000) -> Iterator[StoredPoints]:
        converted = partial(records.stored, dimension=self.dimension)
        yield from self._pages(converted, batch, with_payload=True, with_vector=self._whole)

    def scroll_payloads(
        self, batch: int = 1000, filter: Filter = NO_FILTER, start: uuid.UUID | None = None
    ) -> Iterator[tuple[uuid.UUID, Payload]]:
        for payloads in self._pages(records.payloads, batch, start, with_payload=True, filter=compiled(filter)):
            yield from payloads.items()

    def scroll_extra(self, batch: int = 1000) -> Iterator[Extra]:
        for some in self._pages(records.extra, batch, with_payload=["extra"]):
            yield from some

    def ordered(
        self, field: Field, count: int, filter: Filter = NO_FILTER, *, descending: bool = False
    ) -> dict[uuid.UUID, Payload]:
        order = qdrant.OrderBy(field.key, qdrant.Direction.Desc if descending else qdrant.Direction.Asc)
        request = qdrant.ScrollRequest(limit=count, filter=compiled(filter), with_payload=True, order_by=order)
        with self._reading():
            return records.payloads(self._shard.scroll(request)[0])

    def scroll_vectors(self, batch: int = 1000) -> Iterator[tuple[list[uuid.UUID], Vector]]:
        yield from self._pages(partial(records.matrix, dimension=self.dimension), batch, with_vector=self._whole)

    @property
    def _whole(self) -> bool | list[str]:
        """The vector of a request that is the embedding, without a second copy of the part look."""
        return [WHOLE] if self.look else True

    def sample(self, count: int, *, labelled: bool = False) -> dict[uuid.UUID, Payload]:
        """See `VectorIndex.sample`: draws ranges of ids, which are hashes and therefore in random order."""
        filter = qdrant.Filter(must_not=[qdrant.IsEmptyCondition("label")]) if labelled else None
        size = -(-count // SAMPLED_RANGES)
        starts = [uuid.UUID(int=random.getrandbits(128)) for _ in range(SAMPLED_RANGES)]
        read = partial(self._pages, records.payloads, filter=filter, with_payload=True)
        ranges = (next(read(size, start)) for start in starts)
        drawn: dict[uuid.UUID, Payload] = {}
        for payloads in chain(ranges, read(count)):  # from the first id on, if the ranges overlap or end
            drawn |= payloads
            if len(drawn) >= count:
                break
        return dict(islice(drawn.items(), count))

    def count(self, *, exact: bool = True) -> int:
        with self._reading():
            return self._shard.count(qdrant.CountRequest(exact=exact))

    def labels(self, *, exact: bool = True) -> dict[str, int]:
        with self._reading():
            request = qdrant.FacetRequest("label", limit=records.MOST_LABELS, exact=exact)
            return records.labels(self._shard.facet(request).hits)

    def counts(self, field: Field, most: int) -> dict[str, int]:
        """See `VectorIndex.counts`; without a payload index, there are few points, which are counted one by one."""
        if field.key not in self._indexed():
            counted = Counter(value for _, photo in self.scroll_payloads() for value in set(field.values(photo)))
            return dict(counted.most_common(most))
        with self._reading():
            return records.labels(self._shard.facet(qdrant.FacetRequest(field.key, limit=most)).hits)

    def optimize(self, cancellation: CancellationToken | None = None) -> bool:
        """See `VectorIndex.optimize`; during it, the index takes three times its space on disk."""

        def is_cancelled() -> bool:
            return self._closing.cancelled or (cancellation is not None and cancellation.cancelled)

        large = self.count() > FEW_POINTS
        if self._outside_graph(large) <= self.FULL_SCAN_POINTS or not self._building.acquire(blocking=False):
            return False
        copy = self._folder / f"{SHARD}-{uuid.uuid4().hex[:8]}"
        try:
            with self._writing():
                require_space(self._folder, SPARE_BYTES + 2 * _size(self._place))
                token, fields = CancellationToken(is_cancelled), self._indexed()
                built = build_graph(copy, self.dimension, self.look, self._batches(), token, fields=fields, large=large)
                if built:
                    self._replace_shard(copy, has_int8=large)
        finally:
            self._written.clear()
            self._sweep()
            self._building.release()
        return built

    def index_fields(self, fields: Mapping[str, Kind]) -> None:
        """See `VectorIndex.index_fields`: the graph stays as it is.

        Without them, each condition takes 3 µs for each point. Few points need none, and creating all takes a second.
        """
        if self.count(exact=False) < self.INDEXED_POINTS:
            return
        indexed = self._indexed()
        for name, kind in fields.items():
            if name not in indexed:
                self._write(payload_index(name, kind), [])

    def has_removed(self) -> bool:
        return (self._folder / REMOVED / DESCRIPTION).exists()

    def removed(self) -> "EmbeddedIndex":
        """See `VectorIndex.removed`: an index in the folder of this one."""
        with self._opening_removed:
            if self._removed is None:
                folder = self._folder / REMOVED
                self._removed = EmbeddedIndex(self._store, folder, self.model, self.dimension, self.look)
            return self._removed

    def note(self, name: str) -> str | None:
        try:
            return (self._folder / f"{name}.json").read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def save_note(self, name: str, text: str) -> None:
        with self._writing():
            write_atomically(self._folder / f"{name}.json", text)

    def save_count(self) -> None:
        """See `VectorIndex.save_count`; an error is ignored, since the number is only displayed."""
        with suppress(OSError, IndexUnreadable):
            write_atomically(self._folder / COUNT, str(self.count()))

    def advice(self) -> str | None:
        if self.count() <= MANY_POINTS:
            return None
        return (
            f"{self.count():,} photos are many for an embedded index. A Qdrant server builds its graphs while it "
            "searches, and can use several machines: `lookalike migrate --to server` copies the index to one."
        )

    def free(self) -> None:
        """See `VectorIndex.free`; building a graph is cancelled."""
        self._closing.cancel()
        with self._building, self._lock:
            if not self._holder.is_locked:
                return
            if self._removed is not None:
                self._removed.free()
            self._lookup.close()
            try:
                with self._writing():
                    self._shard.flush()
                    self._describe(self._place)
                self.save_count()
            finally:
                self._shard.close()
                release(self._holder)

    def _open(self) -> qdrant.EdgeShard:
        """Load the shard that the description names, or create one; others are removed only after that."""
        if not self._description.exists():
            return self._create()
        description = json.loads(self._description.read_bytes())
        self.dimension, self.look = description["dimension"], description.get("look", 0)
        self._place = self._folder / description.get("shard", SHARD)
        self._changes, self._has_int8 = description.get("changes", 0), description.get("int8", False)
        if not self._place.exists():
            self._refuse_to_replace(self._other_shards(), f"names {self._place.name}, which is missing")
        shard = qdrant.EdgeShard.load(str(self._place))
        if not shard.info().points_count:
            self._refuse_to_replace(self._other_shards(), f"names {self._place.name}, which is empty")
        self._sweep()
        return shard

    def _create(self) -> qdrant.EdgeShard:
        """Create an empty shard under another name; its description is written last.

        So what a killed process leaves is an unfinished shard, or an empty one without description.
        """
        require_space(self._folder)
        self._refuse_to_replace([shard for shard in self._folder.glob(f"{SHARD}*") if shard.is_dir()], "is missing")
        unfinished = self._folder / UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        created = create_shard(unfinished, self.dimension, self.look)
        created.flush()
        created.close()
        flush_tree(unfinished)
        shutil.rmtree(self._place, ignore_errors=True)
        unfinished.rename(self._place)
        self._lookup.create()
        self._describe(self._place)
        return qdrant.EdgeShard.load(str(self._place))

    def _refuse_to_replace(self, shards: Iterable[Path], problem: str) -> None:
        """Raise IndexUnreadable if the description is wrong and shards that it does not name hold photos.

        Args:
            problem: of the description.
        """
        filled = [shard for shard in shards if not _is_empty(shard)]
        if not filled:
            return
        largest = max(filled, key=_size)
        raise IndexUnreadable(
            f"The index {self._folder} can't be opened: {DESCRIPTION} {problem}, and there are photos in "
            f"{' and '.join(shard.name for shard in filled)}. Its files may come from different backups.",
            f"Restore the whole folder from one backup. Or, to continue with {largest.name}, write this line into "
            f"{self._description}, and run `lookalike crosscheck`: {self._description_of(largest)}",
        )

    def _otherwise_named(self, uris: Sequence[str]) -> dict[str, IndexedPhoto]:
        wanted = frozenset(uris)
        found = [IndexedPhoto(photo, payload) for photo, payload in self._looked_up(wanted).items()]
        return {uri: photo for photo in found for uri in (*photo.payload.also_at, photo.payload.uri) if uri in wanted}

    def _looked_up(self, values: Iterable[str]) -> dict[uuid.UUID, Payload]:
        """Return the points that may have one of these contents or further names."""
        with self._reading():
            self._require_lookup()
            ids = self._lookup.find(values)
        return self.get(ids) if ids else {}

    def _remember(self, photos: Iterable[tuple[uuid.UUID, Payload]]) -> None:
        """Enter points into the lookup, before they are written: an entry that a point does not confirm is ignored."""
        with self._writing():
            require_space(self._folder)
            self._require_lookup()
            self._lookup.add(photos)

    def _require_lookup(self) -> None:
        """Build the lookup of an index that an older version wrote."""
        if not self._lookup.exists():
            self._lookup.create(self.scroll_payloads())

    def _describe(self, shard: Path) -> None:
        write_atomically(self._description, self._description_of(shard))

    def _description_of(self, shard: Path) -> str:
        description = {
            "model": self.model,
            "dimension": self.dimension,
            "look": self.look,
            "shard": shard.name,
            "changes": self._changes,
            "int8": self._has_int8,
        }
        return json.dumps(description)

    def _other_shards(self) -> list[Path]:
        """Return the shards that are not in use: former ones, and those of builds that were not finished."""
        return sorted(shard for shard in self._folder.glob(f"{SHARD}*") if shard != self._place)

    def _sweep(self) -> None:
        """Remove the shards that are not in use."""
        for shard in self._other_shards():
            shutil.rmtree(shard, ignore_errors=True)

    def _filtered(self, nearest: Nearest, k: int, filter: Filter) -> list[Hit]:
        matching = self.matching(filter)
        if matching <= self.FILTERED_SCAN_POINTS:
            return nearest(k, filter, True)
        ef = self.FILTERED_EF if self._has_few_points() else self.LARGE_FILTERED_EF
        return filtered_search(nearest, k, filter, ef, scan=matching <= self.MOST_SCANNED)

    def _nearest(
        self, query: Vector, by_look: bool, k: int, filter: Filter, exact: bool, *, candidates: int = 0
    ) -> list[Hit]:
        with self._reading():
            # Without `max_selectivity`, Edge uses ACORN only for filters that keep less than 40 %.
            acorn = qdrant.AcornSearchParams(enable=True, max_selectivity=1.0) if filter else None
            alone, beside_look, of_look = self._candidates()

            def traversal(ef: int, quantization: qdrant.QuantizationSearchParams) -> qdrant.SearchParams:
                return qdrant.SearchParams(hnsw_ef=max(ef, candidates, k), acorn=acorn, quantization=quantization)

            matching = compiled(filter)
            whole = qdrant.Query.Nearest(as_edge(query), using=WHOLE if self.look else None)
            prefetches, last = None, qdrant.SearchParams(exact=True)
            if by_look and not exact:
                look = qdrant.Query.Nearest(as_edge(query[-self.look :]), using=LOOK)
                prefetches = [
                    qdrant.Prefetch(
                        max(self.CANDIDATES, 2 * k), query=part, params=traversal(ef, NOT_RESCORED), filter=matching
                    )
                    for part, ef in ((whole, beside_look), (look, of_look))
                ]
            elif not exact:
                last = traversal(alone, RESCORED)
            request = qdrant.QueryRequest(
                limit=k, query=whole, prefetches=prefetches, filter=matching, params=last, with_payload=True
            )
            return records.hits(self._shard.query(request))

    def matching(self, filter: Filter, *, exact: bool = False) -> int:
        """See `VectorIndex.matching`; without payload indexes, Edge can't estimate the number."""
        exact = exact or self.count(exact=False) < self.INDEXED_POINTS
        with self._reading():
            return self._shard.count(qdrant.CountRequest(filter=compiled(filter), exact=exact))

    def _candidates(self) -> tuple[int, int, int]:
        """How many candidates a search keeps in the graph of whole vectors, in it by look, and in the graph of look."""
        if self._has_few_points():
            return self.EF // 4, self.EF // 2, self.EF // 2
        return 2 * self.EF, self.EF, 2 * self.EF

    def _has_few_points(self) -> bool:
        few = self._few
        if few is None:
            few = self._few = self.count(exact=False) <= FEW_POINTS
        return few

    def _indexed(self) -> dict[str, Kind]:
        """Return the fields that have payload indexes, and what they hold."""
        with self._reading():
            return {name: kind_of(index) for name, index in self._shard.info().payload_schema.items()}

    def _outside_graph(self, large: bool) -> int:
        """About how many points the graph lacks or holds in an older version, which Edge does not count.

        A large graph without int8 vectors, of a former version or of fewer points, counts as if it lacked all.
        """
        with self._reading():
            info = self._shard.info()
        if large and not self._has_int8:
            return info.points_count
        return max(info.points_count - info.indexed_vectors_count, self._changes)

    def _batches(self) -> Iterator[Batch]:
        """Yield every point for the process that builds the graph."""
        converted = partial(batch_of, dimension=self.dimension)
        return self._pages(converted, SENT_AT_ONCE, with_payload=True, with_vector=True)

    def _replace_shard(self, copy: Path, *, has_int8: bool) -> None:
        """Bring the copy up to date, and make it the shard in use; writes wait only for the last few points."""
        flush_tree(copy)
        built = qdrant.EdgeShard.load(str(copy))
        while len(self._written) > WRITTEN_AT_ONCE:
            with self._lock:
                written, self._written = self._written, set()
            bring_up_to_date(built, self._shard, list(written))
        with self._lock:
            bring_up_to_date(built, self._shard, list(self._written))
            built.flush()
            flush_tree(copy)
            self._changes, self._has_int8 = 0, has_int8
            self._describe(copy)
            self._log = WriteAheadLog(copy)
            self._place, self._shard = copy, built  # a search in the former shard keeps it alive until it ends

    def _pages(
        self,
        converted: Callable[[list[qdrant.Record]], Page],
        size: int,
        start: uuid.UUID | None = None,
        **request: Any,
    ) -> Iterator[Page]:
        """Yield the records from an id on, in the order of the ids, in pages; the first page may be empty."""
        offset: qdrant.PointId | None = start
        while True:
            with self._reading():
                found, offset = self._shard.scroll(qdrant.ScrollRequest(offset=offset, limit=size, **request))
                page = converted(found)
            yield page
            if offset is None:
                return

    @contextmanager
    def _reading(self, what: str = "read") -> Iterator[None]:
        """Turns the errors of Edge and the system into `IndexUnreadable`."""
        try:
            yield
        except LookalikeError:
            raise
        except Exception as error:  # Edge raises plain exceptions
            raise IndexUnreadable(f"The index {self._folder} can't be {what} ({error}).", _remedy(error)) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns the errors of Edge and the system into `IndexWriteFailed`."""
        try:
            yield
        except LookalikeError:
            raise
        except Exception as error:  # Edge raises plain exceptions
            raise IndexWriteFailed(
                f"The index {self._folder} could not be written ({error}).",
                "Its former contents are kept. Free disk space, then run the same command again.",
            ) from None

    def _write(self, operation: qdrant.UpdateOperation, ids: Sequence[uuid.UUID], changes: int | None = None) -> None:
        """Apply an operation to points; `changes` of them leave the graph, by default all."""
        with self._lock, self._writing():
            require_space(self._folder)
            self._unflushed = True
            self._shard.update(operation)
            self._changes += len(ids) if changes is None else changes
            self._few = None
            if self._building.locked():
                self._written.update(ids)


@dataclass(slots=True)
class _Change:
    """What makes the payloads of some points from their former ones."""

    values: dict[str, Any]
    gone: list[str]
    photos: list[uuid.UUID] = field(default_factory=list, repr=False)

    @classmethod
    def between(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Self:
        """Return the change from a payload to another one, without points."""
        values = {name: value for name, value in new.items() if old.get(name) != value}
        return cls(values, [name for name in old if name not in new])

    def operations(self) -> Iterator[qdrant.UpdateOperation]:
        """Yield the operations on the points."""
        photos: list[int | uuid.UUID | str] = [*self.photos]
        if self.values:
            yield qdrant.UpdateOperation.set_payload(photos, self.values)
        if self.gone:
            yield qdrant.UpdateOperation.delete_payload(photos, self.gone)


def _is_empty(shard: Path) -> bool:
    """Whether a shard can be loaded and has no points."""
    try:
        loaded = qdrant.EdgeShard.load(str(shard))
    except Exception:  # Edge raises plain exceptions
        return False
    points = loaded.info().points_count
    loaded.close()
    return points == 0


def _remedy(error: Exception) -> str:
    """Return what to do about an error that is raised when an index is opened or read.

    The index itself is damaged only if the system did not refuse to read it.
    """
    number = _system_error(error)
    if number in SYSTEM_REMEDIES:
        return SYSTEM_REMEDIES[number]
    if number is not None and number not in MISSING:
        return "Correct what the system reports, then run the same command again; the index is not changed."
    return "Restore that folder from a backup, or move it to another place and index the photos again."


def _system_error(error: Exception) -> int | None:
    """Return the number of the system's error; the messages of Edge's plain exceptions have it in brackets."""
    if isinstance(error, OSError):
        return error.errno
    found = SYSTEM_ERROR.search(str(error))
    return int(found[1]) if found else None


def _size(folder: Path) -> int:
    """Return the size of the files in a folder, some of which may disappear meanwhile."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size
