"""The web application: the search page at `/`, the JSON API below `/api/v1`."""

from importlib.metadata import version
from threading import BoundedSemaphore, Event

from apiflask import APIFlask
from flask_compress import Compress
from werkzeug.middleware.proxy_fix import ProxyFix

from indexer.background import BackgroundJobs
from retrieval.index import IndexStore
from retrieval.search import Searcher
from retrieval.settings import Settings
from web import keys, limits, logs, openapi, page, problems, security, services
from web.api import explain, health, images, jobs, labels, map, metrics, models, search
from web.label_counts import LabelCounts
from web.photo_files import PhotoFiles
from web.prometheus import Metrics
from web.schemas import API
from web.services import MOST_STREAMS, Services
from web.serving import Serving
from web.uploads import Uploads

COMPRESSED = ["text/html", "text/css", "text/javascript", "image/svg+xml", "application/json", problems.MEDIA_TYPE]


def create_app(
    settings: Settings, store: IndexStore, searcher: Searcher, *, local: bool = False, stopping: Event | None = None
) -> APIFlask:
    """The application on an open searcher; in the end, `Services.close` closes the one that then serves.

    Args:
        settings: limits, keys, library roots, the home that keeps thumbnails and uploads.
        store: holds the indexes; it stays open.
        searcher: the model that serves and its index, until another one is made current.
        local: listens on this machine only, and answers only under the names of this machine.
        stopping: set when the server stops, so that event streams end.
    """
    app = _configured(settings)
    served = _services(settings, store, searcher, local, stopping or Event())
    services.register(app, served)
    _mount(app)
    logs.register(app)
    served.metrics.observe_requests(app)
    problems.register(app)
    security.register(app, settings)
    if local:
        security.answer_only_locally(app)
    keys.register(app)
    limits.register(app, settings)
    Compress(app)
    if (believed := settings.proxies) > 0:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=believed, x_proto=believed, x_host=believed, x_prefix=believed
        )
    return app


def _configured(settings: Settings) -> APIFlask:
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
        COMPRESS_MIMETYPES=COMPRESSED,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    return app


def _services(settings: Settings, store: IndexStore, searcher: Searcher, local: bool, stopping: Event) -> Services:
    computing = BoundedSemaphore(settings.embedding_threads)
    return Services(
        settings,
        store=store,
        serving=Serving(settings, store, searcher),
        photo_files=PhotoFiles(settings, searcher.decoder, computing),
        uploads=Uploads(settings, computing),
        jobs=BackgroundJobs(settings, store, searcher.decoder),
        computing=computing,
        label_counts=LabelCounts(),
        metrics=Metrics(),
        streams=BoundedSemaphore(MOST_STREAMS),
        local=local,
        stopping=stopping,
    )


def _mount(app: APIFlask) -> None:
    for part in (search, explain, images, labels, map, jobs, models):
        app.register_blueprint(part.blueprint, url_prefix=API)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(health.blueprint, url_prefix=API, name="health_below_api")
    app.register_blueprint(metrics.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(page.blueprint)
    app.spec_processor(openapi.complete)
