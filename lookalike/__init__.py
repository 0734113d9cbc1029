"""Find photos that look like a given photo.

    from pathlib import Path

    import lookalike
    from retrieval.search import SearchParameters

    with lookalike.open_searcher() as searcher:
        response = searcher.by_photo(Path("photo.jpg").read_bytes(), SearchParameters(k=5))

To search on a server, use `lookalike.Client`.

Importing this package loads nothing else; each name below is imported when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

__all__ = ["Client", "Searcher", "__version__", "load_bundle", "open_searcher"]

MODULES = {
    "Client": "lookalike.client",
    "Searcher": "retrieval.search",
    "load_bundle": "retrieval.bundle",
    "open_searcher": "lookalike.library",
}

if TYPE_CHECKING:
    from lookalike.client import Client
    from lookalike.library import open_searcher
    from retrieval.bundle import load_bundle
    from retrieval.search import Searcher

    __version__: str
else:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return version("lookalike")
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(MODULES[name]), name)
