"""Running a job: the photos of its sources through an executor, counted, and the index cross-checked at the end.

`run_job` runs one in this process until it ends; `BackgroundJobs` runs them on a thread, one at a time, for a process
that has other things to do and may own the index; `retry_request` asks for what failed in a job.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from indexer.batch import BatchResult, Failure
from indexer.crosscheck import CrossCheck, save_cross_check
from indexer.executor import BatchExecutor, LocalExecutor
from indexer.jobs import IndexRequest, Job, JobRecord, load_job, read_failures
from indexer.map import run_map
from indexer.sources import lasting_name, list_sources
from retrieval.bundle import Bundle, install_bundle
from retrieval.cancellation import CancellationToken
from retrieval.closing import Closing
from retrieval.current_model import bundle_in_use
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import IndexUnreachable, JobRunning, LookalikeError, NotFound
from retrieval.index import IndexStore
from retrieval.manifest import LINE
from retrieval.photo_ref import PhotoRef, path_of
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy
from retrieval.stores import OnSkipped, store_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """A job that ran to its end, or until it was asked to stop, and the cross-check that followed it."""

    record: JobRecord
    cross_check: CrossCheck | None
    current_model: str | None

    @property
    def job(self) -> Job:
        """The job's counts."""
        return self.record.job


def run_job(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
) -> Finished:
    """Index what is asked for, in this process or, where `LOOKALIKE_REDIS_URL` is set, on workers.

    The model becomes the current one with its first photos where no other is. `indexer.jobs.cancel_job` stops the
    job as `cancellation` does, from any process.

    Args:
        settings: the settings.
        store: holds the index.
        request: what to index.
        cancellation: stops the job after the current batch.
        on_progress: called when the job has begun, and after each batch.
        decoder: shared with other threads; None: the job makes one.

    Raises:
        LookalikeError: the job could not go on; its record says why, and what is indexed is kept.
    """
    request = replace(request, sources=[lasting_name(source) for source in request.sources])
    unlistable: list[Failure] = []
    policy = settings.source_policy(allow_urls=request.urls)
    photos = _photos(settings, request, policy, lambda entry: unlistable.append(Failure(entry.uri, entry.reason)))
    bundle = bundle_in_use(settings, store, request.bundle)
    with _open_executor(settings, store, bundle, decoder or PhotoDecoder(policy)) as executor:
        install_bundle(bundle, settings.models_folder)
        record = JobRecord(settings.jobs_folder, request, bundle.model_id)
        serving = store.current()
        cancellation = record.cancellation(cancellation)
        stopped = False
        with record.ended_by_errors():
            on_progress(record.job)
            for outcome in executor.index(photos):
                record.count(outcome)
                record.count(_take(unlistable))
                if serving is None and outcome.seen:
                    with suppress(IndexUnreachable):  # asked again after the next batch, and at the end
                        store.activate(bundle.model_id)
                        serving = bundle.model_id
                on_progress(record.job)
                if stopped := cancellation.cancelled:
                    break
            record.count(_take(unlistable))
            check = None if stopped else _finish(executor, record, request, policy, cancellation)
            if serving is None and record.job.seen:
                store.activate(serving := bundle.model_id)
            if check is not None:
                save_cross_check(settings, check)
            else:
                stopped = stopped or cancellation.cancelled
        record.end(record.stopped_state() if stopped else "done")
    return Finished(record, check, serving)


def retry_request(settings: Settings, job_id: str) -> IndexRequest:
    """The request for the photos, and the folders, that failed in a job; they are looked up in its sources again.

    Raises:
        NotFound: there is no such job, or nothing failed in it.
    """
    job = load_job(settings, job_id)
    if not read_failures(settings, job_id, limit=1):
        raise NotFound(f"Nothing failed in the job {job_id}.")
    sources = [str(path_of(source)) if source.startswith("file:") else source for source in job.sources]
    return IndexRequest(sources, settings.models_folder / job.model, job.label_from, urls=job.urls, retry_of=job_id)


class BackgroundJobs(Closing):
    """Jobs on a thread of this process, one at a time; followed and cancelled through `indexer.jobs`.

    Args:
        settings: the settings.
        store: holds the indexes.
        decoder: shared with other threads; None: each job makes one.
    """

    def __init__(self, settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> None:
        self._settings = settings
        self._store = store
        self._decoder = decoder
        self._one_at_a_time = threading.Lock()
        self._closing = CancellationToken()
        self._thread: threading.Thread | None = None

    def start(self, request: IndexRequest) -> Job:
        """Begin a job, and return it as soon as its sources, model and index turn out to be there.

        Raises:
            JobRunning: another one runs.
            LookalikeError: as `run_job`, where it can't even begin.
        """
        begun: Future[Job] = Future()
        with self._one_at_a_time:
            if self._thread is not None:
                self._thread.join(timeout=1)  # a job that has ended says so a moment before its thread ends
                if self._thread.is_alive():
                    raise JobRunning("Another indexing job is running.", "Wait for its end, or cancel it.")
            self._thread = threading.Thread(target=self._run, args=(request, begun), name="job")
            self._thread.start()
        return begun.result()

    def close(self) -> None:
        """End the running job after the batch at hand, and wait for that."""
        self._closing.cancel()
        if self._thread is not None:
            self._thread.join()

    def _run(self, request: IndexRequest, begun: "Future[Job]") -> None:
        def tell(job: Job) -> None:
            if not begun.done():
                begun.set_result(job.model_copy())

        run = run_map if request.kind == "map" else partial(run_job, decoder=self._decoder)
        try:
            run(self._settings, self._store, request, self._closing, tell)
        except Exception as error:
            if not begun.done():
                begun.set_exception(error)
            elif not isinstance(error, LookalikeError):  # such a one is in the job's record
                logger.exception("The job %s failed.", begun.result().id)


def _finish(
    executor: BatchExecutor,
    record: JobRecord,
    request: IndexRequest,
    policy: SourcePolicy,
    cancellation: CancellationToken,
) -> CrossCheck | None:
    """Complete the index when every photo is in it; None if it is empty or the job is cancelled."""
    removed = executor.remove_gone(request.sources, policy, cancellation) if request.sync else 0
    record.count_removed(removed)
    executor.optimize(cancellation)
    return executor.cross_check(cancellation)


def _open_executor(settings: Settings, store: IndexStore, bundle: Bundle, decoder: PhotoDecoder) -> BatchExecutor:
    """The executor for a bundle; raises `BadBundle` where its network can't run, before anything is written."""
    if settings.redis_url:
        from indexer.celery_executor import CeleryExecutor  # noqa: PLC0415 - Celery is only needed beside Redis

        Embedder(bundle, threads=1)
        return CeleryExecutor(settings, bundle.model_id)
    return LocalExecutor.open(settings, store, bundle, decoder)


def _take(unlistable: list[Failure]) -> BatchResult:
    """What could not be listed since the last time."""
    taken = tuple(unlistable)
    unlistable.clear()
    return BatchResult(failures=taken)


def _photos(
    settings: Settings, request: IndexRequest, policy: SourcePolicy, on_skipped: OnSkipped
) -> Iterator[PhotoRef]:
    """The photos of a request's sources; where it takes up a job again, those that failed in it.

    What a manifest's line that named no photo names now, nobody can tell from its other lines: they are all taken up.
    """

    def listed(sources: Sequence[str]) -> Iterator[PhotoRef]:
        return list_sources(sources, request.label_from, on_skipped, policy)

    if request.retry_of is None:
        return listed(request.sources)
    failed = frozenset(failure.uri for failure in read_failures(settings, request.retry_of))
    manifests = {uri.partition(LINE)[0] for uri in failed if LINE in uri}
    whole = [source for source in request.sources if manifests and store_of(source).canonical(source) in manifests]
    others = listed([source for source in request.sources if source not in whole])
    return chain(listed(whole), (photo for photo in others if any(place in failed for place in _places(photo.uri))))


def _places(uri: str) -> Iterator[str]:
    """A URI, and those of all folders that it lies in."""
    while uri:
        yield uri
        uri = uri.rpartition("/")[0]
