"""The first model of a home, made of the installed network with pretrained weights, and the first job with it."""

from collections.abc import Callable

from indexer.jobs import IndexRequest, Job, JobRecord
from indexer.runner import run_job
from indexer.train_process import can_train, run_with_new_model, train
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.decoder import PhotoDecoder
from retrieval.errors import LookalikeError
from retrieval.index import IndexStore
from retrieval.settings import Settings

FOLDER = "pretrained"  # in the home: the bundle, with its report
RECIPE = "pretrained"
PREPARING = "Making a model of the installed network …"


def can_make_model(settings: Settings) -> bool:
    """Return whether a model can be made here: TensorFlow is installed, and no setting names another one."""
    return settings.bundle is None and can_train()


def needs_model(settings: Settings, store: IndexStore) -> bool:
    """Return whether there is neither a current model nor one that a setting names."""
    return settings.bundle is None and store.current() is None


def run_first_job(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
) -> None:
    """Make a model with the photos of a job, then run the job with it, like `indexer.runner.run_job`.

    If there is a current model, the job uses that one.

    Raises:
        LookalikeError: no model can be made here, and no job is recorded; or the job failed, and its record has the
            reason.
    """
    if not needs_model(settings, store):
        run_job(settings, store, request, cancellation, on_progress, decoder=decoder)
        return
    if not can_make_model(settings):
        raise LookalikeError(
            "A model can't be made here, since TensorFlow is not installed.",
            "Install a bundle that was made on another machine, or run `pip install 'lookalike[train]'`.",
        )

    def make(record: JobRecord) -> Bundle | None:
        def show(message: str) -> None:
            record.set_step(message or PREPARING)
            on_progress(record.job)

        token = record.cancellation(cancellation)
        return train(settings, _options(request), settings.home / FOLDER, token, show)

    def use(request: IndexRequest, _: Bundle, record: JobRecord) -> None:
        run_job(settings, store, request, cancellation, on_progress, decoder=decoder, record=record)

    run_with_new_model(settings, request, on_progress, make, use)


def _options(request: IndexRequest) -> list[str]:
    """The options that make the model of the first source; labels are not needed, and would take longer."""
    hidden = ["--include-hidden"] if request.include_hidden else []
    excluded = [f"--exclude={pattern}" for pattern in request.exclude]
    return ["--data", request.sources[0], "--recipe", RECIPE, "--label-from", "none", *hidden, *excluded]
