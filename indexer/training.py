"""Training a model on the photos of the index as a job; it is indexed beside the current model, and compared with it.

Nothing is activated: a person decides by the comparison.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
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
    start_record,
)
from indexer.model_registry import open_index
from indexer.runner import run_job
from indexer.successor import take_over
from indexer.train_process import can_train, train
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.decoder import PhotoDecoder
from retrieval.errors import TrainingUnavailable
from retrieval.index import IndexStore, VectorIndex
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

BUNDLE = "bundle"  # in the folder of the job, with its report
PROGRESS = "progress.json"  # in the folder of the job
STARTING = "Reading the photos …"


def run_training(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
) -> None:
    """Train a model in a process, index the photos of the current model with it, and compare both.

    Raises:
        NoModel: there is no index to train on; no job is recorded.
        TrainingUnavailable: TensorFlow is not installed; no job is recorded.
        LookalikeError: the job failed; its record has the reason.
    """
    bundle_in_use(settings, store)
    if not can_train():
        raise TrainingUnavailable(
            "TensorFlow is not installed on this server, and training needs it.",
            "Run `pip install 'lookalike[train]'` under Python 3.11, or train elsewhere and install the bundle.",
        )
    record = start_record(settings, request, model="")
    with record.ended_by_errors():
        on_progress(record.job)
        bundle = _train(settings, record, cancellation, on_progress)
        if bundle is None:
            record.end(record.stopped_state())
            return
        request = replace(request, bundle=bundle.folder)
        index_beside(settings, store, request, bundle, record, cancellation, on_progress, decoder=decoder)


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


def _train(
    settings: Settings, record: JobRecord, cancellation: CancellationToken, on_progress: Callable[[Job], None]
) -> Bundle | None:
    file = record.folder / PROGRESS

    def show(message: str) -> None:
        record.job.progress = _read_progress(file)
        record.set_step(message or STARTING)
        on_progress(record.job)

    options = [*_options(record.job.training or TrainingOptions()), f"--progress={file}"]
    return train(settings, options, record.folder / BUNDLE, record.cancellation(cancellation), show)


def _options(training: TrainingOptions) -> list[str]:
    """The options of `lookalike train`."""
    backbone = [f"--backbone={training.backbone}"] if training.backbone else []
    epochs = [f"--epochs={training.epochs}"] if training.epochs else []
    changes = [f"--set={change}" for change in training.changes]
    return ["--data=index:", f"--recipe={training.recipe}", f"--seed={training.seed}", *backbone, *epochs, *changes]


def _read_progress(file: Path) -> TrainingProgress | None:
    with suppress(OSError, ValidationError):
        return TrainingProgress.model_validate_json(file.read_bytes())
    return None


def _photos_of(index: VectorIndex) -> Iterator[PhotoRef]:
    """The photos of an index, with their labels there."""
    for _, photo in index.scroll_payloads():
        yield PhotoRef(photo.uri, photo.label, extra=photo.extra)
