"""The web application: the search page at `/`, the JSON API below `/api/v1`."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from threading import Event

from apiflask import APIFlask
from flask_compress import Compress
from werkzeug.middleware.proxy_fix import ProxyFix

from retrieval import formats
from retrieval.index import IndexStore
from retrieval.search import Searcher
from retrieval.settings import Settings
from web import keys, limits, login, logs, openapi, page, problems, security, services
from web.api import (
    embeddings,
    explain,
    health,
    images,
    jobs,
    labels,
    map,
    models,
    prometheus,
    queues,
    search,
    searches,
    selection,
    uploads,
)
from web.multipart import PhotoRequest
from web.schemas.fields import API

STATIC = Path(__file__).with_name("static")
YEAR = 365 * 24 * 3600  # in seconds
COMPRESSED = ["text/html", "text/css", "text/javascript", "image/svg+xml", "application/json", problems.MEDIA_TYPE]


def create_app(
    settings: Settings,
    store: IndexStore,
    searcher: Searcher | None,
    *,
    local: bool = False,
    stopping: Event | None = None,
) -> APIFlask:
    """Return the application on an open searcher; `Services.close` closes the searcher that is current then.

    Args:
        settings: limits, keys, library roots and the home, which stores thumbnails and uploads.
        store: the indexes; it is not closed.
        searcher: a searcher on the current model, used until another model is activated; None if there is no model
            yet.
        local: whether the server listens on a loopback address; requests under any other host name are refused then.
        stopping: set when the server stops, which ends event streams.
    """
    app = _configured(settings)
    served = services.Services(settings, store, searcher, local, stopping)
    services.register(app, served)
    _mount(app)
    logs.register(app)
    served.metrics.observe_requests(app)
    problems.register(app)
    security.register(app, settings)
    if local:
        security.require_local_host(app)
    keys.register(app)
    limits.register(app, settings)
    Compress(app)
    if (proxies := settings.proxies) > 0:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies, x_prefix=proxies
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
        static_url_path=f"/static/{_hash_of_files(STATIC)}",
    )
    app.request_class = PhotoRequest
    max_body = settings.max_upload_mb * 1_000_000
    app.config.update(
        MAX_CONTENT_LENGTH=max_body,
        MAX_FORM_MEMORY_SIZE=max_body,
        SERVERS=[{"url": "/"}],
        OPENAPI_VERSION="3.1.0",
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        COMPRESS_MIMETYPES=COMPRESSED,
        SEND_FILE_MAX_AGE_DEFAULT=YEAR,  # their addresses change with their contents
    )
    app.jinja_env.globals["accepted_files"] = formats.ACCEPTED
    app.json.sort_keys = False  # type: ignore[attr-defined]
    return app


def _hash_of_files(folder: Path) -> str:
    """Return 12 hex digits of the sha256 of the files in a folder, and of their names."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]


def _mount(app: APIFlask) -> None:
    for module in (
        search,
        searches,
        embeddings,
        explain,
        images,
        selection,
        uploads,
        labels,
        queues,
        map,
        jobs,
        models,
    ):
        app.register_blueprint(module.blueprint, url_prefix=API)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(health.blueprint, url_prefix=API, name="health_below_api")
    app.register_blueprint(prometheus.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(page.blueprint)
    app.register_blueprint(login.blueprint)
    app.spec_processor(openapi.complete)
