"""An index with photos, the application on it, and a real server process."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil
from apiflask import APIFlask
from flask.testing import FlaskClient
from waiting import free_port
from werkzeug.serving import make_server

from indexer.index_calibration import calibrate
from retrieval.bundle import Bundle, install_bundle
from retrieval.current_model import open_searcher
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import IndexStore, Payload, Point, open_store
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.app import create_app
from web.services import EXTENSION

LOOKALIKE = [sys.executable, "-m", "lookalike"]
ROOT = Path(__file__).resolve().parents[1]


def fill_index(settings: Settings, bundle: Bundle, source: Path, *, calibrated: bool = False) -> list[PhotoRef]:
    """Index the photos of a folder and activate their model; `calibrated` for scores with bands."""
    install_bundle(bundle, settings.models_folder)
    embedder = Embedder(bundle, threads=1)
    photos = list(list_photos(source))
    with open_store(settings) as store:
        with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
            index.upsert([_point(photo, embedder) for photo in photos])
            if calibrated:
                calibrate(index, embedder, PhotoDecoder())
        store.activate(bundle.model_id)
    return photos


@dataclass(frozen=True)
class Site:
    """The application with its settings, searcher and photos."""

    app: APIFlask
    settings: Settings
    store: IndexStore
    searcher: Searcher
    photos: list[PhotoRef]

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()


@dataclass(frozen=True)
class Served:
    """A server process: its address, its indexed photos and its home."""

    url: str
    photos: list[PhotoRef]
    home: Path


def client_of(site: Site, local: bool = False, **settings: object) -> FlaskClient:
    """A client of another application on the same index, with changed settings."""
    return create_app(site.settings.model_copy(update=settings), site.store, site.searcher, local=local).test_client()


def with_key(client: FlaskClient) -> FlaskClient:
    """Make a client send the key of its server with each request."""
    (key, *_) = client.application.extensions[EXTENSION].keys
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key.secret}"
    return client


@contextmanager
def site(settings: Settings, bundle: Bundle, library: Path) -> Iterator[Site]:
    """The application on the photos of a folder."""
    photos = fill_index(settings, bundle, library)
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        yield Site(create_app(settings, store, searcher, local=True), settings, store, searcher, photos)


@contextmanager
def answering(settings: Settings, bundle: Bundle, library: Path) -> Iterator[Site]:
    """The application behind an HTTP server in a thread, which the holder file of its index names."""
    photos = fill_index(settings, bundle, library)
    with open_store(settings) as store:
        store.address = f"http://127.0.0.1:{(port := free_port())}"
        app = create_app(settings, store, searcher := open_searcher(settings, store), local=True)
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Site(app, settings, store, searcher, photos)
        finally:
            server.shutdown()
            thread.join()
            app.extensions[EXTENSION].close()


@contextmanager
def serving(*options: str, folder: Path = ROOT) -> Iterator[str]:
    """`lookalike serve` as a process in a folder, with the settings of the environment; yields its address."""
    command = [*LOOKALIKE, "serve", "--port", "0", "--json", *options]
    with TemporaryFile("w+") as log:  # a pipe that is not read fills up, and blocks the server
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                log.seek(0)
                raise AssertionError(log.read())
            yield json.loads(said)["url"]
        finally:
            process.terminate()
            process.communicate(timeout=120)


def worker() -> psutil.Process:
    """The first worker process of the server that was started last."""
    return workers()[0]


def workers() -> list[psutil.Process]:
    """The worker processes of the server that was started last."""
    servers = [child for child in psutil.Process().children() if "serve" in child.cmdline()]
    return max(servers, key=psutil.Process.create_time).children()


def _point(photo: PhotoRef, embedder: Embedder) -> Point:
    data = photo.path.read_bytes()
    decoded = PhotoDecoder().read_pixels(data, embedder.bundle.resize)
    (vector,) = embedder.embed(decoded.pixels[None])
    digest = hashlib.sha256(data).hexdigest()
    now = "2026-01-01T00:00:00+00:00"
    payload = Payload(photo.uri, photo.label, digest, decoded.width, decoded.height, len(data), now, now)
    return Point(photo.id, vector, payload)
