"""What every request works with."""

from contextlib import ExitStack
from dataclasses import dataclass
from threading import BoundedSemaphore, Event

from flask import Flask, current_app, g

from indexer.background import BackgroundJobs
from retrieval.index import IndexStore
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.label_counts import LabelCounts
from web.photo_files import PhotoFiles
from web.prometheus import Metrics
from web.serving import Serving
from web.uploads import Uploads

EXTENSION = "lookalike"
MOST_STREAMS = 16  # event streams at once, each of which holds a thread


@dataclass(frozen=True, slots=True)
class Services:
    """The settings, the indexes, the searcher on the model that serves, the photos on disk and those added over HTTP.

    Whoever decodes or embeds a photo holds `computing` meanwhile: as many do at once as there are cores. `local` says
    that the server listens on this machine only; `stopping` is set when it stops, so that what waits can end.
    """

    settings: Settings
    store: IndexStore
    serving: Serving
    photo_files: PhotoFiles
    uploads: Uploads
    jobs: BackgroundJobs
    computing: BoundedSemaphore
    label_counts: LabelCounts
    metrics: Metrics
    streams: BoundedSemaphore
    local: bool
    stopping: Event

    def close(self) -> None:
        """End the job that runs after the batch at hand, then close the index."""
        self.jobs.close()
        self.serving.close()

    @property
    def searcher(self) -> Searcher:
        """The searcher of the current request: one and the same to its end, whatever is activated meanwhile."""
        if "searcher" not in g:
            g.lent = ExitStack()
            g.searcher = g.lent.enter_context(self.serving.use())
        found: Searcher = g.searcher
        return found


def register(app: Flask, services: Services) -> None:
    """Give an application its services, and what a request has lent back at its end."""
    app.extensions[EXTENSION] = services

    @app.teardown_appcontext
    def give_back(_error: BaseException | None) -> None:
        if "lent" in g:
            g.lent.close()


def services() -> Services:
    """The services of the application that answers the current request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
