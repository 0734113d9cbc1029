"""`/api/v1/models`: replacing the current model while searches go on."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import make
import numpy as np
import pytest
from serving import LOOKALIKE, ROOT, Site, fill_index, serving, with_key
from waiting import until

from retrieval.bundle import Bundle
from retrieval.current_model import open_searcher
from retrieval.index import open_store
from retrieval.index.vectors import has_direction
from retrieval.search import SearchParameters
from retrieval.settings import Settings
from web.api_keys import load_keys
from web.app import create_app
from web.services import EXTENSION
from web.serving import Serving, warm_up

MODELS = "/api/v1/models"


@pytest.fixture
def other(settings: Settings, tmp_path: Path, library: Path) -> Bundle:
    """A second model, indexed, before the bundle of all tests is made the current one."""
    other = make.bundle(tmp_path / "other", dimension=8, seed=7, precision="int8")
    fill_index(settings, other, library)
    return other


@pytest.fixture
def site(other: Bundle, settings: Settings, bundle: Bundle, library: Path) -> Iterator[Site]:
    photos = fill_index(settings, bundle, library)
    with open_store(settings) as store:
        searcher = open_searcher(settings, store)
        app = create_app(settings, store, searcher, local=True)
        yield Site(app, settings, store, searcher, photos)
        app.extensions[EXTENSION].close()


def described(site: Site) -> dict[str, dict]:
    return {model["id"]: model for model in site.client.get(MODELS).get_json()["models"]}


def test_models_are_described(site: Site, bundle: Bundle, other: Bundle) -> None:
    models = described(site)
    assert (models[bundle.model_id]["current"], models[bundle.model_id]["points"]) == (True, 24)
    assert (models[other.model_id]["previous"], models[other.model_id]["dimension"]) == (True, 8)
    assert (models[bundle.model_id]["precision"], models[other.model_id]["precision"]) == ("float32", "int8")


def test_another_model_is_activated_and_rolled_back(site: Site, bundle: Bundle, other: Bundle) -> None:
    activated = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert activated.status_code == 200, activated.text
    assert {model["id"] for model in activated.get_json()["models"] if model["current"]} == {other.model_id}
    search = site.client.post("/api/v1/search", json={"id": str(site.photos[0].id)}).get_json()
    assert search["model"] == other.model_id and len(search["results"]) == 10
    assert site.client.get("/readyz").get_json()["crosscheck"]["passed"]
    assert with_key(site.client).post(f"{MODELS}/rollback").status_code == 200
    assert site.client.get("/readyz").get_json()["model"] == bundle.model_id


def test_the_current_model_is_activated_without_more_ado(site: Site, bundle: Bundle) -> None:
    assert with_key(site.client).post(f"{MODELS}/{bundle.model_id}/activate").status_code == 200


@pytest.mark.parametrize("model", ["nothing-000000000000", "..", "%2e%2e", "..%2f..%2fetc"])
def test_an_unknown_model_is_not_found(site: Site, model: str) -> None:
    assert with_key(site.client).post(f"{MODELS}/{model}/activate").status_code == 404
    assert site.client.get("/readyz").status_code == 200


def test_a_search_ends_on_the_model_it_began_with(site: Site, other: Bundle) -> None:
    serving: Serving = site.app.extensions[EXTENSION].serving
    with serving.use() as before:
        open_store(site.settings).activate(other.model_id)
        assert serving.follow() == other.model_id
        with serving.use() as after:
            assert after is not before
        assert len(before.by_id(site.photos[0].id, SearchParameters(k=5)).results) == 5
    with open_store(site.settings).open(before.index.model, before.index.dimension) as index:
        assert index.count() == 24, "it was closed after its last search, so that it can be opened again"


def test_a_model_that_can_not_be_served_changes_nothing(site: Site, other: Bundle, bundle: Bundle) -> None:
    (site.settings.models_folder / other.model_id / "embedder.onnx").write_bytes(b"damaged")
    refused = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert refused.status_code == 409 and "damaged" in refused.get_json()["detail"]
    assert site.client.get("/readyz").get_json()["model"] == bundle.model_id


def test_a_server_starts_though_its_model_has_no_embedding_for_grey(site: Site) -> None:
    size = site.searcher.embedder.bundle.resize.size
    (vector,) = site.searcher.embedder.embed(np.full((1, size, size, 3), 128, np.uint8))
    assert not has_direction(vector)
    warm_up(site.searcher)


def test_a_model_that_finds_less_is_not_activated(site: Site, other: Bundle, bundle: Bundle) -> None:
    with open_store(site.settings).open(other.model_id, other.dimension) as index:
        points, rng = list(index.scroll()), np.random.default_rng(0)
        vectors = rng.normal(size=(len(points), other.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        index.upsert([replace(point, vector=vector) for point, vector in zip(points, vectors, strict=True)])
    refused = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert refused.status_code == 409 and "MAP@R" in refused.get_json()["detail"]
    assert site.client.get("/readyz").get_json()["model"] == bundle.model_id


@pytest.mark.slow
def test_a_running_server_follows_the_command_line_and_the_api(
    other: Bundle, settings: Settings, bundle: Bundle, library: Path
) -> None:
    fill_index(settings, bundle, library)
    with serving() as url:
        command = [*LOOKALIKE, "models", "activate", other.model_id]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        until(lambda: model_of(url) == other.model_id)
        (key,) = load_keys(settings)
        activate = Request(f"{url}{MODELS}/{bundle.model_id}/activate", method="POST")
        activate.add_header("Authorization", f"Bearer {key.secret}")
        with urlopen(activate, timeout=60):
            assert model_of(url) == bundle.model_id


def model_of(url: str) -> str:
    with urlopen(f"{url}/readyz", timeout=10) as ready:
        return str(json.load(ready)["model"])
