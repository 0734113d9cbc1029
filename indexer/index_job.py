"""A job that reads the index of a model and computes something from it."""

from collections.abc import Callable

from indexer.batch import BatchResult
from indexer.jobs import IndexRequest, Job, JobRecord, run_recorded
from indexer.model_registry import open_index
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.index import IndexStore, VectorIndex
from retrieval.settings import Settings


def run_on_index(  # noqa: PLR0917 - as `run_job`, and the work
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    work: Callable[[VectorIndex, Bundle, CancellationToken], int | None],
) -> None:
    """Run a job on the open index of a model, like `indexer.runner.run_job`.

    Args:
        work: computes and saves the result; returns the number of photos read, or None if cancelled.

    Raises:
        NotFound: the model has no index, or an empty one.
        LookalikeError: the job failed; its record has the reason.
    """
    bundle = bundle_in_use(settings, store, request.bundle)
    with open_index(store, bundle) as index:

        def completed(record: JobRecord) -> bool:
            seen = work(index, bundle, record.cancellation(cancellation))
            if seen is not None:
                record.count(BatchResult(seen=seen))
            return seen is not None

        run_recorded(settings, request, bundle.model_id, on_progress, completed)
