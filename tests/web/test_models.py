"""`/api/v1/models`: replacing the current model while searches go on."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import make
import numpy as np
import pytest
from commands import Command
from serving import LOOKALIKE, ROOT, Site, answering, client_of, fill_index, serving, with_key
from waiting import until

from indexer import activation
from indexer.crosscheck import load_cross_check
from indexer.jobs import list_jobs
from indexer.model_registry import save_unknown_counts
from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import open_searcher
from retrieval.index import open_store
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.vectors import has_direction
from retrieval.search import SearchParameters
from retrieval.settings import Settings
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


def test_models_are_listed_while_another_process_holds_an_index(site: Site, other: Bundle) -> None:
    with EmbeddedStore(site.settings.index_folder).open(other.model_id, other.dimension):
        listed = described(site)[other.model_id]
    assert (listed["points"], listed["problem"]) == (24, None)


def test_listing_models_never_keeps_another_process_from_opening_an_index(site: Site, other: Bundle) -> None:
    listing = threading.Event()

    def poll() -> None:
        while not listing.is_set():
            described(site)

    thread = threading.Thread(target=poll)
    thread.start()
    for _ in range(5):
        with EmbeddedStore(site.settings.index_folder).open(other.model_id, other.dimension) as index:
            assert index.count() == 24
    listing.set()
    thread.join()


def test_a_damaged_bundle_is_noticed_though_it_was_listed_before(site: Site, other: Bundle) -> None:
    assert described(site)[other.model_id]["problem"] is None
    (site.settings.models_folder / other.model_id / "embedder.onnx").write_bytes(b"damaged")
    assert "damaged" in described(site)[other.model_id]["problem"]


def test_the_points_of_an_index_of_an_older_version_are_counted_once(site: Site, other: Bundle) -> None:
    (site.settings.index_folder / other.model_id / "count.json").unlink()
    assert described(site)[other.model_id]["points"] is None
    save_unknown_counts(site.settings, site.store)
    assert described(site)[other.model_id]["points"] == 24


def test_a_model_with_many_photos_is_activated_by_a_job(
    site: Site, other: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "FEW_POINTS", 23)
    answer = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert (answer.status_code, answer.get_json()["kind"]) == (202, "activate"), answer.text
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.get_json()['id']}"
    ended = until(lambda: ended_job(site, answer.headers["Location"]))
    assert (ended["state"], ended["error"], ended["model"]) == ("done", None, other.model_id)
    assert site.store.current() == other.model_id
    assert load_cross_check(site.settings, other.model_id)


def test_a_job_does_not_activate_a_model_that_finds_less(
    site: Site, other: Bundle, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "FEW_POINTS", 23)
    shuffle(site, other)
    answer = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    ended = until(lambda: ended_job(site, answer.headers["Location"]))
    assert ended["state"] == "failed" and "MAP@R" in ended["error"]
    assert site.store.current() == bundle.model_id


def test_a_cancelled_activation_leaves_the_current_model(site: Site, other: Bundle, bundle: Bundle) -> None:
    request = activation.activation_request(site.settings, other.model_id)
    token = CancellationToken()
    token.cancel()
    activation.run_activation(site.settings, site.store, request, token, lambda job: None)
    assert [job.state for job in list_jobs(site.settings)] == ["interrupted"]
    assert site.store.current() == bundle.model_id


def ended_job(site: Site, address: str) -> dict | None:
    job = site.client.get(address).get_json()
    return None if job["state"] == "running" else job


def test_another_model_is_activated_and_rolled_back(site: Site, bundle: Bundle, other: Bundle) -> None:
    activated = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert activated.status_code == 200, activated.text
    assert {model["id"] for model in activated.get_json()["models"] if model["current"]} == {other.model_id}
    assert activated.get_json()["serves"] == other.model_id
    search = site.client.post("/api/v1/search", json={"id": str(site.photos[0].id)}).get_json()
    assert search["model"] == other.model_id and len(search["results"]) == 10
    assert site.client.get("/readyz").get_json()["crosscheck"]["passed"]
    assert with_key(site.client).post(f"{MODELS}/rollback").status_code == 200
    assert site.client.get("/readyz").get_json()["model"] == bundle.model_id


def test_the_model_that_serves_is_named_if_the_setting_overrides_the_current_one(
    site: Site, bundle: Bundle, other: Bundle
) -> None:
    client = with_key(client_of(site, bundle=bundle.folder))
    activated = client.post(f"{MODELS}/{other.model_id}/activate?max_loss=1").get_json()
    assert activated["serves"] == bundle.model_id
    assert [model["id"] for model in activated["models"] if model["current"]] == [other.model_id]


def test_the_current_model_is_activated_without_more_ado(site: Site, bundle: Bundle) -> None:
    assert with_key(site.client).post(f"{MODELS}/{bundle.model_id}/activate").status_code == 200


def test_the_model_of_a_configured_bundle_is_made_current(site: Site, bundle: Bundle, other: Bundle) -> None:
    site.store.activate(other.model_id)
    client = with_key(client_of(site, bundle=bundle.folder))
    assert client.post(f"{MODELS}/{bundle.model_id}/activate").status_code == 200
    assert site.store.current() == bundle.model_id


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
    shuffle(site, other)
    refused = with_key(site.client).post(f"{MODELS}/{other.model_id}/activate")
    assert refused.status_code == 409 and "MAP@R" in refused.get_json()["detail"]
    assert site.client.get("/readyz").get_json()["model"] == bundle.model_id


def shuffle(site: Site, model: Bundle) -> None:
    """Replace the vectors of an index by random ones."""
    with open_store(site.settings).open(model.model_id, model.dimension) as index:
        points, rng = list(index.scroll()), np.random.default_rng(0)
        vectors = rng.normal(size=(len(points), model.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        index.upsert([replace(point, vector=vector) for point, vector in zip(points, vectors, strict=True)])


@pytest.fixture
def running(other: Bundle, settings: Settings, bundle: Bundle, library: Path) -> Iterator[Site]:
    """The application behind an HTTP server."""
    with answering(settings, bundle, library) as site:
        yield site


def test_the_command_line_asks_the_server_that_holds_the_index(
    running: Site, command: Command, other: Bundle, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command("models", "activate", other.model_id, "--max-loss", 0.9, "--json")
    assert done.status == 0, done.err
    assert (done.json["current"], done.json["before"]["model"]) == (other.model_id, bundle.model_id)
    assert done.json["crosscheck"]["passed"] and done.json["evaluation"]["photos"] == 24
    assert running.client.get("/readyz").get_json()["model"] == other.model_id
    monkeypatch.setattr(activation, "FEW_POINTS", 10)
    done = command("models", "activate", bundle.model_id, "--max-loss", 0.9)
    assert done.status == 0, done.err
    assert f"{bundle.model_id} is the current model now." in done.out
    assert [job.kind for job in list_jobs(running.settings)] == ["activate"]


@pytest.mark.parametrize("few", [10_000, 10])
def test_the_command_line_activates_no_worse_model_while_a_server_runs(
    running: Site, command: Command, other: Bundle, bundle: Bundle, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "FEW_POINTS", few)
    shuffle(running, other)
    refused = command("models", "activate", other.model_id)
    assert refused.status == 1
    assert "was not activated: its MAP@R" in refused.err
    assert open_store(running.settings).current() == bundle.model_id


def test_the_command_line_says_that_a_server_refuses_its_key(
    running: Site, command: Command, other: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_API_KEYS", "another key")
    refused = command("models", "activate", other.model_id)
    assert refused.status == 1
    assert "key" in refused.err


@pytest.mark.slow
def test_a_running_server_follows_the_command_line_and_the_api(
    other: Bundle, settings: Settings, bundle: Bundle, library: Path
) -> None:
    fill_index(settings, bundle, library)
    with serving() as url:
        command = [*LOOKALIKE, "models", "activate", other.model_id, "--max-loss", "0.9"]
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
