"""What programs that import `lookalike` call."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval import current_model
from retrieval.index import open_store
from retrieval.search import Searcher
from retrieval.settings import load_settings


@contextmanager
def open_searcher(home: Path | str | None = None) -> Iterator[Searcher]:
    """Open the current model and its index, and close them at the end of the `with` statement.

    Args:
        home: the folder of models and indexes; None for `LOOKALIKE_HOME`. All other settings are read from
            `LOOKALIKE_*` variables and `.env`.

    Raises:
        LookalikeError: a setting is wrong, no photos have been indexed, or another process holds the index.
    """
    settings = load_settings()
    if home is not None:
        settings = settings.model_copy(update={"home": Path(home)})
    with open_store(settings) as store, current_model.open_searcher(settings, store) as searcher:
        yield searcher
