"""The application on a small index: one that the tests share, and a new one for each test that changes something."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from serving import Site, site

from retrieval.bundle import Bundle
from retrieval.index import open_store
from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.app import create_app
from web.services import EXTENSION


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, library: Path) -> Iterator[Site]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), embedding_threads=1)
    with site(settings, bundle, library) as built:
        yield built


@pytest.fixture
def own(settings: Settings, bundle: Bundle, library: Path, tmp_path: Path) -> Iterator[Site]:
    """A site whose photos, settings and index a test may change."""
    with site(settings, bundle, Path(shutil.copytree(library, tmp_path / "library"))) as built:
        yield built


@pytest.fixture
def client(shared: Site) -> FlaskClient:
    return shared.client


@pytest.fixture
def photos(shared: Site) -> list[PhotoRef]:
    return shared.photos


@pytest.fixture
def searcher(shared: Site) -> Searcher:
    return shared.searcher


@pytest.fixture
def empty(settings: Settings) -> Iterator[FlaskClient]:
    """A client of a server without a model, on a loopback address."""
    with open_store(settings) as store:
        app = create_app(settings, store, None, local=True)
        yield app.test_client()
        app.extensions[EXTENSION].close()
