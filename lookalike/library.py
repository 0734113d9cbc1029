"""What programs that import `lookalike` call."""

from pathlib import Path

from retrieval import current_model
from retrieval.index import open_store
from retrieval.search import Searcher
from retrieval.settings import load_settings


def open_searcher(home: Path | str | None = None) -> Searcher:
    """Open the current model and its index; close the searcher, or use it in a `with` statement.

    Args:
        home: the folder of models and indexes; None for `LOOKALIKE_HOME`. All other settings are read from
            `LOOKALIKE_*` variables and `.env`.

    Raises:
        LookalikeError: a setting is wrong, no photos have been indexed, or another process holds the index.
    """
    settings = load_settings()
    if home is not None:
        settings = settings.model_copy(update={"home": Path(home)})
    return current_model.open_searcher(settings, open_store(settings))
