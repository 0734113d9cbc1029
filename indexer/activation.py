"""Activating a model as a job: the checks read every vector of its index, which takes long if it has many points."""

from collections.abc import Callable

from indexer.jobs import IndexRequest, Job, JobRecord, run_recorded
from indexer.model_registry import MAX_LOSS, activate
from retrieval.cancellation import CancellationToken, Cancelled
from retrieval.current_model import bundle_in_use
from retrieval.index import IndexStore
from retrieval.index.base import no_index
from retrieval.settings import Settings

FEW_POINTS = 10_000  # are checked in about a second


def has_few_points(store: IndexStore, model: str) -> bool:
    """Return whether the checks of a model are fast enough for a web request."""
    points = store.count(model)
    return points is not None and points <= FEW_POINTS


def activation_request(settings: Settings, model: str, max_loss: float = MAX_LOSS) -> IndexRequest:
    """Return the request for a job that activates an installed model; `max_loss` as in `activate`."""
    return IndexRequest((), settings.models_folder / model, kind="activate", max_loss=max_loss)


def run_activation(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> None:
    """Check a model and make it the current one as a job, like `indexer.runner.run_job`.

    Raises:
        NotFound: the model has no index; no job is recorded.
        BadBundle: its bundle is not installed, or damaged; no job is recorded.
        LookalikeError: the job failed; its record has the reason.
    """
    bundle = bundle_in_use(settings, store, request.bundle)
    if bundle.model_id not in store.models():
        raise no_index(bundle.model_id)

    def check(record: JobRecord) -> bool:
        try:
            token = record.cancellation(cancellation)
            activate(settings, store, bundle.model_id, max_loss=request.max_loss, cancellation=token)
        except Cancelled:
            return False
        record.set_seconds()
        return True

    run_recorded(settings, request, bundle.model_id, on_progress, check)
