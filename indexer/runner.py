"""Running a job: index the photos of its sources, count them, and cross-check the index."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.batch import BatchResult
from indexer.crosscheck import CrossCheck, save_cross_check
from indexer.exclusions import adopt_exclusions
from indexer.executor import BatchExecutor, LocalExecutor
from indexer.index_columns import JobColumns, declared_columns, upgrade_columns
from indexer.job_retry import failed_photos
from indexer.jobs import IndexRequest, Job, JobRecord, start_record
from indexer.removal import Removal, RemovalLimits
from indexer.source_record import SourceSurvey
from indexer.sources import lasting_name, list_sources
from retrieval.bundle import Bundle, install_bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadSource, IndexUnreachable
from retrieval.index import IndexStore
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import PhotoRef, file_name, is_url
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure, OnSkipped

BY_A_PERSON = "a person"  # why a photo is excluded that was removed over HTTP


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job that is done or was stopped, the cross-check after it, and the model that is the current one then."""

    record: JobRecord
    cross_check: CrossCheck | None
    current_model: str | None

    @property
    def job(self) -> Job:
        """The job with its counts."""
        return self.record.job


def run_job(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
    record: JobRecord | None = None,
    photos: Iterable[PhotoRef] | None = None,
    complete: Callable[[JobRecord], None] = lambda _: None,
) -> FinishedJob:
    """Run an indexing job, in this process or, if `LOOKALIKE_REDIS_URL` is set, on workers.

    If there is no current model, the job's model becomes it after the first batch.

    Args:
        cancellation: stops the job after the current batch, like `indexer.jobs.cancel_job`.
        on_progress: called with the counts at the start and after each batch.
        decoder: shared with other threads; None to create one.
        record: of a job that has made its model; None to start one.
        photos: to index; None: those of the sources.
        complete: called before a job ends that was not stopped.

    Raises:
        LookalikeError: the job failed; its record has the reason, and what is indexed is kept.
    """
    request = replace(request, sources=[lasting_name(source) for source in request.sources])
    policy = settings.source_policy(allow_urls=request.urls)
    declared = declared_columns(request.columns)
    unlisted: list[Failure] = []
    report, survey = ListingReport(), SourceSurvey()
    photos = survey.counted(photos or _photos(settings, request, policy, report, unlisted.append))
    bundle = bundle_in_use(settings, store, request.bundle)
    with _open_executor(settings, store, bundle, decoder or PhotoDecoder(policy)) as executor:
        install_bundle(bundle, settings.models_folder)
        if record is None:
            record = start_record(settings, request, bundle.model_id)
        else:
            record.set_model(bundle.model_id)
        cancellation = record.cancellation(cancellation)
        current = _CurrentModel(store, store.current())
        with record.ended_by_errors():
            on_progress(record.job)

            def columns() -> JobColumns:
                return JobColumns(report.columns.kinds(), declared)

            for result in _results(executor.index(photos, columns), unlisted):
                record.count(result)
                for uri in result.excluded:
                    report.skip("excluded", BY_A_PERSON, file_name(uri))
                record.count_skipped(report)
                if result.seen > len(result.failures):
                    with suppress(IndexUnreachable):  # tried again after the next batch, and at the end
                        current.default_to(bundle.model_id)
                on_progress(record.job)
                if cancellation.cancelled:
                    break
            check = None
            if not cancellation.cancelled:
                try:
                    check = _finish(settings, request, executor, record, survey, policy, cancellation)
                finally:
                    record.job.slowed_by = executor.slowed_by() or record.job.slowed_by
            if record.job.seen > record.job.failed:
                current.default_to(bundle.model_id)
            if check is not None:
                save_cross_check(settings, check)
            if not cancellation.cancelled:
                complete(record)
        stopped = check is None and cancellation.cancelled
        record.end(record.stopped_state() if stopped else "done")
    return FinishedJob(record, check, current.model)


def _finish(  # noqa: PLR0917 - the parts of a job
    settings: Settings,
    request: IndexRequest,
    executor: BatchExecutor,
    record: JobRecord,
    survey: SourceSurvey,
    policy: SourcePolicy,
    cancellation: CancellationToken,
) -> CrossCheck | None:
    """Do what follows the last batch of a job; return the result of the cross-check, None if it was cancelled."""
    options = request.listing_options(settings.home)
    keep = settings.keep_removed_days > 0
    limits = RemovalLimits(settings.max_removed_percent, keep, request.allow_removing)
    removal = Removal()
    if request.sync:
        removal = executor.remove_gone(request.sources, policy, options, limits, cancellation)
    record.count_removed(removal)
    if request.retry_of is None:
        keep_mounts = not request.sync or bool(removal.refused)
        executor.record_sources(survey.records(), cancellation, keep_mounts=keep_mounts)
    executor.optimize(cancellation)
    executor.calibrate()
    return executor.cross_check(cancellation)


@dataclass(slots=True)
class _CurrentModel:
    """The current model of a store; None if there is none."""

    store: IndexStore
    model: str | None

    def default_to(self, model: str) -> None:
        """Activate a model if there is no current one."""
        if self.model is None:
            self.model = self.store.activate_first(model)


def _results(indexed: Iterable[BatchResult], unlisted: list[Failure]) -> Iterator[BatchResult]:
    """Yield the results of an executor, with what could not be listed meanwhile among the failures."""
    for result in indexed:
        yield replace(result, seen=result.seen + len(unlisted), failures=(*result.failures, *unlisted))
        unlisted.clear()
    yield BatchResult(seen=len(unlisted), failures=tuple(unlisted))


def _open_executor(settings: Settings, store: IndexStore, bundle: Bundle, decoder: PhotoDecoder) -> BatchExecutor:
    """Return the executor of a bundle; raise `BadBundle` if its network can't run, before anything is written."""
    if settings.redis_url and (store.allows_many_processes or store.address is None):  # not if a server has the index
        from indexer.celery_executor import CeleryExecutor  # noqa: PLC0415 - Celery is only needed beside Redis

        Embedder(bundle, threads=1)
        if store.allows_many_processes:  # otherwise the worker that opens the index upgrades it
            with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
                upgrade_columns(index)
                index.upgrade()
                adopt_exclusions(store, index)
        return CeleryExecutor(settings, bundle.model_id)
    return LocalExecutor.open(settings, store, bundle, decoder)


def _photos(
    settings: Settings, request: IndexRequest, policy: SourcePolicy, report: ListingReport, on_skipped: OnSkipped
) -> Iterator[PhotoRef]:
    """List the photos of a request: those of its sources, or those that failed in the job that is retried.

    Skipped files are reported only if the sources are listed, not in a retry.
    """

    def listed(sources: Sequence[str]) -> Iterator[PhotoRef]:
        own = report if request.retry_of is None else ListingReport(report.columns)
        options = request.listing_options(settings.home)
        return list_sources(sources, request.label_from, on_skipped, policy, options=options, report=own)

    if request.retry_of is None:
        with _offering_to_forget(request):
            return listed(request.sources)
    return failed_photos(settings, request.retry_of, request.sources, listed)


@contextmanager
def _offering_to_forget(request: IndexRequest) -> Iterator[None]:
    """Within the context, the error about a source that does not exist says how to remove its photos."""
    try:
        yield
    except BadSource as error:
        gone = [source for source in request.sources if not is_url(source) and not Path(source).exists()]
        if not (request.sync and gone):
            raise
        remedy = f"If it is gone for good, `lookalike sources forget {shlex.quote(gone[0])}` removes its photos."
        raise BadSource(error.message, f"{error.remedy} {remedy}") from None
