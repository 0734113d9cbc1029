"""The searcher on the current model, and its replacement when another model becomes the current one."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from retrieval.closing import Closing
from retrieval.current_model import open_searcher
from retrieval.decoder import PhotoDecoder
from retrieval.index import IndexStore
from retrieval.search import Searcher, SearchParameters
from retrieval.settings import Settings


class Serving(Closing):
    """The searcher on the current model, replaced when another model becomes the current one.

    Args:
        settings: name the bundle to serve, if it is not the current model's.
        store: names the current model, and has the searcher's index open.
        searcher: the first searcher; it is closed with this object.
    """

    def __init__(self, settings: Settings, store: IndexStore, searcher: Searcher) -> None:
        self._settings = settings
        self._store = store
        self._searcher = searcher
        self._lock = threading.Lock()
        self._following = threading.Lock()

    @property
    def model(self) -> str:
        """The model of the searcher."""
        return self._searcher.index.model

    @contextmanager
    def use(self) -> Iterator[Searcher]:
        """Yield the searcher, whose index stays open until the end of the block even if it is replaced."""
        with self._lock:
            searcher = self._searcher
            index = self._store.open(searcher.index.model, searcher.index.dimension, searcher.index.look)
        with index:
            yield searcher

    def follow(self) -> str:
        """Replace the searcher if there is another current model, unless `LOOKALIKE_BUNDLE` is set; return the model.

        Raises `LookalikeError` if the current model can't be opened; the searcher stays.
        """
        with self._following:
            current = self._store.current()
            if self._settings.bundle is None and current not in (None, self.model):
                opened = open_warm(self._settings, self._store, self._searcher.decoder)
                with self._lock:
                    before, self._searcher = self._searcher, opened
                before.close()
            return self.model

    def close(self) -> None:
        """Close the searcher."""
        self._searcher.close()


def warm_up(searcher: Searcher) -> None:
    """Decode, embed and search once, so that the first request is as fast as later ones."""
    resize = searcher.embedder.bundle.resize
    photo = io.BytesIO()
    Image.new("RGB", (resize.size, resize.size), "grey").save(photo, "JPEG")
    pixels = searcher.decoder.read_pixels(photo.getvalue(), resize).pixels[None]
    for parallel in (True, False):
        searcher.embedder.embed(pixels, parallel=parallel)
    # Grey has no embedding in some models; any vector warms the index.
    searcher.by_vector(np.ones(searcher.index.dimension, np.float32), SearchParameters())


def open_warm(settings: Settings, store: IndexStore, decoder: PhotoDecoder | None = None) -> Searcher:
    """Return a searcher on the current model that is warmed up; raises as `open_searcher`."""
    searcher = open_searcher(settings, store, decoder)
    try:
        warm_up(searcher)
    except BaseException:
        searcher.close()
        raise
    return searcher
