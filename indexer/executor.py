"""Executors of a job: in this process, or on Celery workers (`indexer.celery_executor`)."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Self

from indexer.batch import NO_COLUMNS, BatchIndexer, BatchResult
from indexer.batch_writing import Exclusive
from indexer.corrections import Corrections
from indexer.crosscheck import CrossCheck, cross_check
from indexer.exclusions import adopt_exclusions
from indexer.index_calibration import calibrate
from indexer.index_columns import ColumnsSoFar, JobColumns, renew_columns, upgrade_columns
from indexer.index_ranks import renew_ranks
from indexer.removal import Removal, RemovalLimits, remove_gone
from indexer.removed_photos import forget_removed
from indexer.source_record import SourceRecord, update_records
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken, Cancelled
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import IndexStore, VectorIndex
from retrieval.listing_options import ListingOptions
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy


class BatchExecutor(Closing):
    """Runs the steps of a job on the index of one model."""

    @abstractmethod
    def index(self, photos: Iterable[PhotoRef], columns: ColumnsSoFar = JobColumns) -> Iterator[BatchResult]:
        """Index a stream of photos, and yield the result of each batch once its points are written.

        Empty results are yielded while no batch is finished, so that the caller can check for cancellation.
        `columns` returns what is known of the columns of the photos that were listed so far.

        Raises:
            IndexWriteFailed: the index can't be written; the batches before are indexed.
        """

    @abstractmethod
    def remove_gone(
        self,
        sources: Sequence[str],
        policy: SourcePolicy,
        options: ListingOptions,
        limits: RemovalLimits,
        cancellation: CancellationToken,
    ) -> Removal:
        """Remove the points of these sources whose photo is gone; see `indexer.removal.remove_gone`.

        A cancellation ends waiting for a worker, and returns an empty result.
        """

    @abstractmethod
    def record_sources(
        self, records: dict[str, SourceRecord], cancellation: CancellationToken, *, keep_mounts: bool
    ) -> None:
        """Save what sources are that were indexed completely, by their URI; see `indexer.source_record`.

        Photos that syncs removed long ago are forgotten, and columns and ranks are renewed (`renew_columns`,
        `renew_ranks`). `keep_mounts` keeps folders recorded as mount points.
        """

    @abstractmethod
    def optimize(self, cancellation: CancellationToken) -> None:
        """Build what keeps searches fast; see `VectorIndex.optimize`."""

    @abstractmethod
    def calibrate(self) -> None:
        """Calibrate scores on the index if the bundle has no calibration data; see `indexer.index_calibration`."""

    @abstractmethod
    def cross_check(self, cancellation: CancellationToken) -> CrossCheck | None:
        """Compare the index with exact neighbours; None if it is empty or the check was cancelled."""

    @abstractmethod
    def slowed_by(self) -> str | None:
        """Return what has slowed the steps after the batches down, as a sentence for the record of the job.

        It is forgotten then, so that it is not reported twice.
        """


class LocalExecutor(BatchExecutor):
    """Runs the steps in this process, on as many groups of photos at a time as there are threads.

    The embedder runs on one thread; the index is closed with the executor.
    """

    def __init__(
        self,
        embedder: Embedder,
        index: VectorIndex,
        decoder: PhotoDecoder,
        threads: int,
        *,
        keep_removed_days: float = 30,
        exclusive: Exclusive = nullcontext,
        corrections: Corrections | None = None,
    ) -> None:
        self._keep_removed_days = keep_removed_days
        self._index, self._embedder, self._decoder = index, embedder, decoder
        self._batches = BatchIndexer(embedder, index, decoder, threads, exclusive=exclusive, corrections=corrections)

    @classmethod
    def open(
        cls,
        settings: Settings,
        store: IndexStore,
        bundle: Bundle,
        decoder: PhotoDecoder,
        exclusive: Exclusive = nullcontext,
    ) -> Self:
        """Return the executor of a bundle, with its index opened.

        Args:
            exclusive: see `BatchIndexer`.

        Raises:
            BadBundle: ONNX Runtime can't load the bundle.
            LookalikeError: the device of the settings can't be used.
            IndexBusy: another process holds the index.
            IndexMismatch: the index holds vectors of another dimension.
        """
        embedder = Embedder(bundle, threads=1, device=settings.device)
        index = store.open(bundle.model_id, bundle.dimension, bundle.look)
        upgrade_columns(index)
        index.upgrade()
        adopt_exclusions(store, index)
        return cls(
            embedder,
            index,
            decoder,
            settings.embedding_threads,
            keep_removed_days=settings.keep_removed_days,
            exclusive=exclusive,
            corrections=Corrections(settings.home),
        )

    def index(self, photos: Iterable[PhotoRef], columns: ColumnsSoFar = JobColumns) -> Iterator[BatchResult]:
        return self._batches.run(photos, columns)

    def index_batch(
        self, photos: Sequence[PhotoRef], time: str, seconds: float, columns: JobColumns = NO_COLUMNS
    ) -> BatchResult:
        """Index one batch; see `BatchIndexer.prepare`."""
        return self._batches.store(self._batches.prepare(photos, time, seconds, columns))

    def remove_gone(
        self,
        sources: Sequence[str],
        policy: SourcePolicy,
        options: ListingOptions,
        limits: RemovalLimits,
        cancellation: CancellationToken,
    ) -> Removal:
        return remove_gone(self._index, sources, policy, options, limits)

    def record_sources(
        self, records: dict[str, SourceRecord], cancellation: CancellationToken, *, keep_mounts: bool
    ) -> None:
        update_records(self._index, records, keep_mounts=keep_mounts)
        renew_columns(self._index)
        renew_ranks(self._index, cancellation)
        forget_removed(self._index, self._keep_removed_days)

    def optimize(self, cancellation: CancellationToken) -> None:
        self._index.optimize(cancellation)

    def calibrate(self) -> None:
        calibrate(self._index, self._embedder, self._decoder)

    def cross_check(self, cancellation: CancellationToken) -> CrossCheck | None:
        with suppress(Cancelled):
            return cross_check(self._index, cancellation=cancellation) if self._index.count() else None
        return None

    def slowed_by(self) -> str | None:
        return self._index.slowed_by()

    def close(self) -> None:
        """Stop the threads, and close the index."""
        self._batches.close()
        self._index.save_count()
        self._index.close()
