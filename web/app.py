"""The web application: the search page at `/`, the JSON API below `/api/v1`."""

from importlib.metadata import version
from threading import BoundedSemaphore

import numpy as np
from apiflask import APIFlask

from retrieval.search import Options, Searcher
from retrieval.settings import Settings
from web import logs, openapi, page, problems, security
from web.api import health, images, labels, search
from web.photo_files import PhotoFiles
from web.schemas import API
from web.services import EXTENSION, Services


def create_app(settings: Settings, searcher: Searcher, *, local: bool = False) -> APIFlask:
    """The application on an open searcher, which the caller closes.

    Args:
        settings: upload and pixel limits, library roots, the home that keeps thumbnails.
        searcher: the model that serves and its index.
        local: listens on this machine only, and answers only under the names of this machine.
    """
    app = APIFlask(
        __name__,
        title="Lookalike",
        version=version("lookalike"),
        docs_path=None,
        json_errors=False,
        static_folder="static",
    )
    longest_body = settings.max_upload_mb * 1_000_000
    app.config.update(
        MAX_CONTENT_LENGTH=longest_body,
        MAX_FORM_MEMORY_SIZE=longest_body,
        SERVERS=[{"url": "/"}],
        OPENAPI_VERSION="3.1.0",
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    computing = BoundedSemaphore(settings.embedding_threads)
    app.extensions[EXTENSION] = Services(settings, searcher, PhotoFiles(settings), computing)

    for blueprint in (search.blueprint, images.blueprint, labels.blueprint):
        app.register_blueprint(blueprint, url_prefix=API)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(health.blueprint, url_prefix=API, name="health_below_api")
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(page.blueprint)
    app.spec_processor(openapi.complete)

    logs.register(app)
    problems.register(app)
    security.register(app)
    if local:
        security.answer_only_locally(app)
    return app


def warm_up(searcher: Searcher) -> None:
    """Embed and search once, so that the first request finds everything warm."""
    size = searcher.embedder.bundle.resize.size
    (vector,) = searcher.embedder.embed(np.full((1, size, size, 3), 127, np.uint8))
    searcher.by_vector(vector, Options())
