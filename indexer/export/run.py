"""Exporting the index of a model to a file."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from indexer.export.columns import Predict, Rows, read_map
from indexer.export.formats import writing
from indexer.model_registry import open_index
from retrieval.bundle import Bundle
from retrieval.current_model import bundle_in_use
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import IndexStore, VectorIndex
from retrieval.index.vectors import Vector
from retrieval.search import Searcher, SearchParameters
from retrieval.settings import Settings


@dataclass(frozen=True, slots=True)
class Export:
    """What was exported."""

    model: str
    photos: int
    seconds: float


def export(
    settings: Settings,
    store: IndexStore,
    target: Path,
    on_progress: Callable[[int, int], None],
    *,
    model: str | None = None,
    predict: bool = False,
) -> Export:
    """Write all photos of an index to a file; the memory that this takes does not depend on their number.

    Args:
        target: see `indexer.export.formats.writing`.
        on_progress: called with the number of photos that were written, and of all photos.
        model: the model's id; None for the current one.
        predict: compute the predicted label of each photo.

    Raises:
        NotFound: there is no such model, or it has no index.
        LookalikeError: the file can't be written.
    """
    start = time.monotonic()
    bundle = bundle_in_use(settings, store, settings.models_folder / model if model else None)
    with open_index(store, bundle) as index:
        total, done = index.count(), 0
        predicting = _predicting(settings, bundle, index) if predict else None
        rows = Rows(index, bundle.manifest.parts, read_map(settings, bundle.model_id), predicting)
        with writing(target, bundle.model_id, rows.columns) as write:
            for batch in rows:
                write(batch)
                done += len(batch.vectors)
                on_progress(done, total)
    return Export(bundle.model_id, done, round(time.monotonic() - start, 3))


def _predicting(settings: Settings, bundle: Bundle, index: VectorIndex) -> Predict:
    """A function that predicts the label of a photo, without its own, from its neighbours or the names of labels."""
    searcher = Searcher(Embedder(bundle, settings.embedding_threads, settings.device), index, PhotoDecoder())

    def predict(photo: uuid.UUID, vector: Vector) -> str | None:
        found = searcher.by_vector(vector, SearchParameters(k=1), leave_out=frozenset([photo]))
        return found.predicted_label.label if found.predicted_label else None

    return predict
