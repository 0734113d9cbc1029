"""The searcher on the current model, and its replacement when another model becomes the current one."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from PIL import Image

from retrieval.closing import Closing
from retrieval.current_model import open_searcher
from retrieval.decoder import PhotoDecoder
from retrieval.errors import NoModel
from retrieval.index import IndexStore
from retrieval.search import Searcher, SearchParameters
from retrieval.settings import Settings


class Serving(Closing):
    """The searcher on the current model, replaced when another model becomes the current one.

    Args:
        settings: name the bundle to serve, if it is not the current model's.
        store: names the current model, and has the searcher's index open.
        searcher: the first searcher; it is closed with this object. None if there is no model yet: then the searcher
            is opened as soon as there is one.
        decoder: of all searchers.
    """

    def __init__(self, settings: Settings, store: IndexStore, searcher: Searcher | None, decoder: PhotoDecoder) -> None:
        self._settings = settings
        self._store = store
        self._searcher = searcher
        self._decoder = decoder
        self._lock = threading.Lock()
        self._following = threading.Lock()

    @property
    def model(self) -> str | None:
        """The model of the searcher; None if there is none yet."""
        searcher = self._searcher
        return None if searcher is None else searcher.index.model

    @contextmanager
    def use(self) -> Iterator[Searcher]:
        """Yield the searcher, whose index stays open until the end of the block even if it is replaced.

        Raises `NoModel` if there is none yet.
        """
        if self._searcher is None:
            self._switch()
        with self._lock:
            searcher = self._searcher
            assert searcher is not None  # once there is one, it is only replaced
            index = self._store.open(searcher.index.model, searcher.index.dimension, searcher.index.look)
        with index:
            yield searcher

    def follow(self) -> str | None:
        """Open the first searcher if there is a model now, or replace it if there is another current model.

        With `LOOKALIKE_BUNDLE`, it is not replaced.

        Returns:
            The model of the searcher; None if there is none yet.

        Raises:
            LookalikeError: the current model can't be opened; the searcher stays.
        """
        if self._searcher is not None:
            self._switch()
        else:
            with suppress(NoModel):
                self._switch()
        return self.model

    def close(self) -> None:
        """Close the searcher."""
        if self._searcher is not None:
            self._searcher.close()

    def _switch(self) -> None:
        """Open the searcher on the model in use, unless it is open; raises as `open_searcher`."""
        with self._following:
            if self._searcher is not None and (
                self._settings.bundle is not None or self._store.current() in (None, self.model)
            ):
                return
            opened = open_warm(self._settings, self._store, self._decoder)
            with self._lock:
                before, self._searcher = self._searcher, opened
            if before is not None:
                before.close()


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
