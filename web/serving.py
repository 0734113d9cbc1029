"""The searcher that answers, exchanged for another model's while requests go on."""

import io
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from retrieval.closing import Closing
from retrieval.current_model import open_searcher
from retrieval.images import read_pixels
from retrieval.index import VectorIndex, open_store
from retrieval.search import Searcher, SearchParameters
from retrieval.settings import Settings


class Serving(Closing):
    """Lends the searcher on the model that serves; one that was exchanged is closed when nobody uses it any more.

    Args:
        settings: where the current model is named.
        searcher: the one to begin with; it is closed here.
    """

    def __init__(self, settings: Settings, searcher: Searcher) -> None:
        self._settings = settings
        self._searcher = searcher
        self._users: Counter[Searcher] = Counter()
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()

    @property
    def model(self) -> str:
        """The model that serves."""
        return self._searcher.index.model

    @contextmanager
    def lend(self) -> Iterator[Searcher]:
        """The searcher, which stays open as long as it is lent."""
        with self._lock:
            searcher = self._searcher
            self._users[searcher] += 1
        try:
            yield searcher
        finally:
            self._give_back(searcher)

    @contextmanager
    def lend_index(self) -> Iterator[VectorIndex]:
        """The searcher's index, for a job."""
        with self.lend() as searcher:
            yield searcher.index

    def follow(self) -> str:
        """Serve the current model from now on, unless `LOOKALIKE_BUNDLE` names another; returns the one that serves.

        Raises:
            LookalikeError: it can't be opened; the model before it goes on.
        """
        with self._exchanging:
            current = open_store(self._settings).current()
            if self._settings.bundle is None and current not in (None, self.model):
                self._exchange(open_warm(self._settings))
            return self.model

    def close(self) -> None:
        """Close the searcher's index."""
        self._searcher.index.close()

    def _exchange(self, fresh: Searcher) -> None:
        with self._lock:
            before, self._searcher = self._searcher, fresh
            unused = not self._users[before]
        if unused:
            before.index.close()

    def _give_back(self, searcher: Searcher) -> None:
        with self._lock:
            self._users[searcher] -= 1
            unused = not self._users[searcher]
            if unused:
                del self._users[searcher]
            exchanged = searcher is not self._searcher
        if unused and exchanged:
            searcher.index.close()


def warm_up(searcher: Searcher) -> None:
    """Decode, embed and search once, so that the first request finds everything warm."""
    resize = searcher.embedder.bundle.resize
    photo = io.BytesIO()
    Image.new("RGB", (resize.size, resize.size), "grey").save(photo, "JPEG")
    pixels = read_pixels(photo.getvalue(), resize).pixels[None]
    for alone in (True, False):
        searcher.embedder.embed(pixels, alone=alone)
    # Grey has no embedding in some models; any vector warms the index.
    searcher.by_vector(np.ones(searcher.index.dimension, np.float32), SearchParameters())


def open_warm(settings: Settings) -> Searcher:
    """A searcher on the current model that has decoded, embedded and searched once; raises as `open_searcher`."""
    searcher = open_searcher(settings)
    try:
        warm_up(searcher)
    except BaseException:
        searcher.index.close()
        raise
    return searcher
