"""The job that computes the queues of a model.

They are computed in a separate process (`indexer.low_priority`): 100,000 photos take about three minutes of one core.
"""

from collections.abc import Callable

from indexer.batch import BatchResult
from indexer.gallery import read_gallery
from indexer.jobs import IndexRequest, Job, JobRecord, run_recorded
from indexer.low_priority import compute
from indexer.model_registry import open_index
from indexer.review.queues import find_queues, save_queues
from retrieval.cancellation import CancellationToken
from retrieval.current_model import bundle_in_use
from retrieval.index import IndexStore
from retrieval.parts import Parts
from retrieval.settings import Settings


def run_review(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> None:
    """Compute the queues of a model as a job, like `indexer.runner.run_job`, and save them for `load_queues`.

    Raises:
        NotFound: the model has no index, or an empty one.
        LookalikeError: the job failed; its record has the reason.
    """
    bundle = bundle_in_use(settings, store, request.bundle)
    manifest = bundle.manifest
    with open_index(store, bundle) as index:

        def work(record: JobRecord) -> bool:
            gallery = read_gallery(index, Parts(manifest.parts))
            calibration = manifest.calibration_data or index.calibration()
            is_cancelled = record.cancellation(cancellation)
            photos = compute("the queues", is_cancelled, find_queues, gallery, calibration)
            if photos is None:
                return False
            save_queues(settings, index.model, len(gallery.photos), photos)
            record.count(BatchResult(seen=len(gallery.photos)))
            return True

        run_recorded(settings, request, bundle.model_id, on_progress, work)
