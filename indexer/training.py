"""Training a model on the photos of the index as a job; it is indexed beside the current model, and compared with it.

Nothing is activated: a person decides by the comparison.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from indexer.index_evaluation import evaluate
from indexer.jobs import (
    Comparison,
    IndexRequest,
    Job,
    JobRecord,
    TrainingOptions,
    TrainingProgress,
)
from indexer.model_registry import open_index
from indexer.runner import run_job
from indexer.successor import take_over
from indexer.train_process import PROGRESS, can_train, run_with_new_model, train_on_index
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.decoder import PhotoDecoder
from retrieval.errors import TrainingUnavailable
from retrieval.index import IndexStore, VectorIndex
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

STARTING = "Reading the photos …"
OTHER_JOB = "Waiting for the end of another job …"

Train = Callable[[JobRecord, CancellationToken, Callable[[str], None]], Bundle | None]


def run_training(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
    wait_for_turn: Callable[[CancellationToken], bool] = lambda _: True,
) -> None:
    """Train a model on a worker or in a process, index the photos of the current model with it, and compare both.

    Args:
        wait_for_turn: called before photos are indexed; waits until no other job runs, and returns False if cancelled.

    Raises:
        NoModel: there is no index to train on; no job is recorded.
        TrainingUnavailable: TensorFlow is not installed, and no worker trains; no job is recorded.
        LookalikeError: the job failed; its record has the reason.
    """
    train = _place(settings, bundle_in_use(settings, store).model_id)

    def make(record: JobRecord) -> Bundle | None:
        def show(message: str) -> None:
            record.job.progress = _read_progress(record.folder / PROGRESS)
            record.set_step(message or STARTING)
            on_progress(record.job)

        return train(record, record.cancellation(cancellation), show)

    def use(request: IndexRequest, bundle: Bundle, record: JobRecord) -> None:
        record.set_step(OTHER_JOB)
        if wait_for_turn(record.cancellation(cancellation)):
            index_beside(settings, store, request, bundle, record, cancellation, on_progress, decoder=decoder)
        else:
            record.end(record.stopped_state())

    run_with_new_model(settings, request, on_progress, make, use)


def index_beside(  # noqa: PLR0917 - as `run_job`
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    bundle: Bundle,
    record: JobRecord,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
) -> None:
    """Index the photos of the current model with another one, compare both, and end the job.

    The photos have the ids and payloads that they have in the index of the current model.
    """
    current = bundle_in_use(settings, store)
    with open_index(store, current) as index:

        def complete(record: JobRecord) -> None:
            with open_index(store, bundle) as new:
                take_over(index, new)
                record.job.comparison = compare(new, bundle, index, current)

        run_job(
            settings,
            store,
            request,
            cancellation,
            on_progress,
            decoder=decoder,
            record=record,
            photos=_photos_of(index),
            complete=complete,
        )


def compare(new: VectorIndex, bundle: Bundle, index: VectorIndex, current: Bundle) -> Comparison | None:
    """Compare a new model with the current one on the photos of both; None if no two of them share a label.

    The queries are photos on which neither model was trained or selected, if there are any.
    """
    splits = [*(bundle.photo_splits() or {}).items(), *(current.photo_splits() or {}).items()]
    learned = {sha256 for sha256, split in splits if split != "test"}
    held_out = evaluate(new, index, learned=learned)
    found = held_out or evaluate(new, index)
    return Comparison(after=found[0], before=found[1], held_out=bool(held_out)) if found else None


def _place(settings: Settings, model: str) -> Train:
    """Return how to train: on a worker if one for trainings is running, otherwise in a process of this machine.

    Raises `TrainingUnavailable` if neither is possible.
    """
    if settings.redis_url:
        from indexer.train_queue import has_trainer, train_on_worker  # noqa: PLC0415 - Celery is only needed beside Redis

        if has_trainer(settings):
            return partial(train_on_worker, settings, model)
    if can_train():
        return partial(_train_here, settings)
    remedy = "Run `pip install 'lookalike[train]'` under Python 3.11, or train elsewhere and install the bundle."
    if settings.redis_url is None:
        raise TrainingUnavailable("TensorFlow is not installed on this server, and training needs it.", remedy)
    raise TrainingUnavailable(
        "TensorFlow is not installed on this server, and no worker that trains is running.",
        f"Start `lookalike worker --queue train` where TensorFlow is installed. {remedy}",
    )


def _train_here(
    settings: Settings, record: JobRecord, cancellation: CancellationToken, on_message: Callable[[str], None]
) -> Bundle | None:
    training = record.job.training or TrainingOptions()
    return train_on_index(settings, training, record.folder, cancellation, on_message)


def _read_progress(file: Path) -> TrainingProgress | None:
    with suppress(OSError, ValidationError):
        return TrainingProgress.model_validate_json(file.read_bytes())
    return None


def _photos_of(index: VectorIndex) -> Iterator[PhotoRef]:
    """The photos of an index, with their labels there."""
    for _, photo in index.scroll_payloads():
        yield PhotoRef(photo.uri, photo.label, extra=photo.extra)
