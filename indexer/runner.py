"""Running a job: the photos of its sources through an engine, counted, and the index cross-checked at the end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from indexer.batch import Failure, Outcome
from indexer.crosscheck import CrossCheck, save_cross_check
from indexer.engine import Engine, LocalEngine
from indexer.jobs import Job, JobRecord
from indexer.sources import list_sources
from retrieval.bundle import Bundle, install_bundle
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError
from retrieval.index import IndexStore, open_store
from retrieval.models import bundle_in_use
from retrieval.photos import LabelFrom, PhotoRef, display
from retrieval.settings import Settings


@dataclass(frozen=True, slots=True)
class Request:
    """What to index.

    Args:
        sources: folders and manifests.
        bundle: the model bundle; None: `LOOKALIKE_BUNDLE` or the current model's.
        label_from: where labels come from; None: by the kind of source.
        sync: also remove the points of these sources whose photo is gone.
    """

    sources: Sequence[str]
    bundle: Path | None = None
    label_from: LabelFrom | None = None
    sync: bool = False


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
    settings: Settings, request: Request, stop: threading.Event, on_progress: Callable[[Job], None]
) -> Finished:
    """Index what is asked for, in this process or, where `LOOKALIKE_REDIS_URL` is set, on workers.

    The model becomes the current one with its first photos where no other is.

    Args:
        settings: the settings.
        request: what to index.
        stop: set it to end the job after the batch at hand.
        on_progress: called after each batch.

    Raises:
        LookalikeError: the job could not go on; its record says why, and what is indexed is kept.
    """
    unlistable: list[Failure] = []
    photos = list_sources(
        request.sources, request.label_from, lambda uri, reason: unlistable.append(Failure(uri, reason))
    )
    store = open_store(settings)
    bundle = bundle_in_use(settings, store, request.bundle)
    with _open_engine(settings, store, bundle) as engine:
        install_bundle(bundle, settings.models_folder)
        record = JobRecord(settings.jobs_folder, [display(source) for source in request.sources], bundle.model_id)
        serving = store.current()
        try:
            for outcome in engine.index(_until(stop, photos)):
                record.count(outcome)
                if serving is None:
                    store.activate(serving := bundle.model_id)
                on_progress(record.job)
            record.count(Outcome(0, 0, 0, tuple(unlistable)))
            removed = engine.remove_gone(request.sources) if request.sync and not stop.is_set() else 0
        except BaseException as error:
            with suppress(LookalikeError):  # the disk that the job failed on may be the record's own
                record.end("failed", error=str(error) or type(error).__name__)
            raise
        record.end("interrupted" if stop.is_set() else "done", removed=removed)
        check = None if stop.is_set() else engine.cross_check()
    if check is not None:
        save_cross_check(settings, check)
    return Finished(record, check, serving)


def _open_engine(settings: Settings, store: IndexStore, bundle: Bundle) -> Engine:
    """The engine for a bundle; raises `BadBundle` where its network can't run, before anything is written."""
    if settings.redis_url:
        from indexer.dispatch import DistributedEngine  # noqa: PLC0415 - Celery is only needed beside Redis

        Embedder(bundle, threads=1)
        return DistributedEngine(settings, bundle.model_id)
    return LocalEngine.open(settings, store, bundle)


def _until(stop: threading.Event, photos: Iterator[PhotoRef]) -> Iterator[PhotoRef]:
    for photo in photos:
        if stop.is_set():
            return
        yield photo
