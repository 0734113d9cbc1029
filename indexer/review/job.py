"""The job that computes the queues of a model.

They are computed in a separate process (`indexer.low_priority`): 100,000 photos take about three minutes of one core.
"""

from collections.abc import Callable

from indexer.gallery import read_gallery
from indexer.index_job import run_on_index
from indexer.jobs import IndexRequest, Job
from indexer.low_priority import compute
from indexer.review.queues import find_queues, save_queues
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.index import IndexStore, VectorIndex
from retrieval.parts import Parts
from retrieval.settings import Settings


def run_review(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> None:
    """Compute the queues of a model as a job, like `indexer.index_job.run_on_index`; save them for `load_queues`."""

    def work(index: VectorIndex, bundle: Bundle, cancellation: CancellationToken) -> int | None:
        manifest = bundle.manifest
        gallery = read_gallery(index, Parts(manifest.parts))
        calibration = manifest.calibration_data or index.calibration()
        photos = compute("the queues", cancellation, find_queues, gallery, calibration)
        if photos is None:
            return None
        save_queues(settings, index.model, len(gallery.photos), photos)
        return len(gallery.photos)

    run_on_index(settings, store, request, cancellation, on_progress, work)
