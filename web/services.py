"""The objects that requests share."""

from contextlib import ExitStack
from threading import BoundedSemaphore, Event

from flask import Flask, current_app, g

from indexer.background import BackgroundJobs
from indexer.corrections import Corrections
from retrieval.api_keys import load_keys
from retrieval.decoder import PhotoDecoder
from retrieval.index import IndexStore
from retrieval.index.retries import brief_retries
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.kept_queries import KeptQueries
from web.label_counts import LabelCounts
from web.library import Library
from web.photo_files import PhotoFiles
from web.prometheus import RequestMetrics
from web.saved_searches import SavedSearches
from web.serving import Serving
from web.shown_paths import ShownPaths
from web.uploads import Uploads

EXTENSION = "lookalike"
MAX_STREAMS = 16  # concurrent event streams of a process; each occupies a thread
MAX_ZIPS = 4  # concurrent ZIP archives of a process; each occupies a thread, and the memory of a photo's file


class Services:
    """The objects that the requests of an application share; for the arguments see `web.app.create_app`."""

    def __init__(
        self, settings: Settings, store: IndexStore, searcher: Searcher | None, local: bool, stopping: Event | None
    ) -> None:
        self.settings, self.store, self.local = settings, store, local
        self.stopping = stopping or Event()
        self.keys = load_keys(settings)
        self.computing = BoundedSemaphore(settings.embedding_threads)  # acquired to decode or embed a photo
        self.streams = BoundedSemaphore(MAX_STREAMS)  # acquired by each event stream
        self.zips = BoundedSemaphore(MAX_ZIPS)  # acquired while a ZIP archive is sent
        decoder = searcher.decoder if searcher else PhotoDecoder(settings.source_policy())
        self.serving = Serving(settings, store, searcher, decoder)
        self.photo_files = PhotoFiles(settings, decoder, self.computing)
        self.library = Library(settings, local)
        self.corrections = Corrections(settings.home)
        self.uploads = Uploads(settings, self.computing, self.corrections)
        self.shown_paths = ShownPaths(settings)
        self.kept_queries = KeptQueries(settings)
        self.saved_searches = SavedSearches(settings.home / "searches", self.kept_queries)
        self.jobs = BackgroundJobs(settings, store, decoder)
        self.label_counts = LabelCounts()
        self.metrics = RequestMetrics()

    def close(self) -> None:
        """Stop the running job after its current batch, then close the index."""
        self.jobs.close()
        self.serving.close()

    @property
    def searcher(self) -> Searcher:
        """The searcher of the current request, which does not change while the request runs.

        Raises `NoModel` if there is none yet.
        """
        if "searcher" not in g:
            g.searcher = g.acquired.enter_context(self.serving.use())
        found: Searcher = g.searcher
        return found


def register(app: Flask, services: Services) -> None:
    """Give an application its services.

    A request retries an unavailable index once, soon. It releases its searcher at its end.
    """
    app.extensions[EXTENSION] = services

    @app.before_request
    def begin() -> None:
        g.acquired = ExitStack()
        g.acquired.enter_context(brief_retries())

    @app.teardown_request
    def release(_error: BaseException | None) -> None:
        if "acquired" in g:
            g.acquired.close()


def services() -> Services:
    """The services of the application that handles the current request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
