"""A server without a model or photos: what it answers, the page that adds photos, and that it then searches."""

import json
import os
import shutil
import subprocess
import uuid
from io import BytesIO
from pathlib import Path

import make
import pytest
from flask.testing import FlaskClient
from serving import LOOKALIKE, ROOT, with_key
from waiting import until

from indexer.jobs import load_job
from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle, install_bundle
from retrieval.index import open_store
from retrieval.settings import Settings
from web.app import create_app

PATIENCE = 120  # seconds, for a job on a loaded machine


@pytest.fixture
def installed(empty: FlaskClient, settings: Settings, bundle: Bundle) -> FlaskClient:
    """The same with an installed model that has no index, and with a key."""
    install_bundle(bundle, settings.models_folder)
    return with_key(empty)


@pytest.mark.parametrize("path", ["labels", "map", f"images/{uuid.UUID(int=1)}"])
def test_until_there_is_a_model_the_api_is_unavailable(empty: FlaskClient, path: str) -> None:
    problem = empty.get(f"/api/v1/{path}")
    assert problem.status_code == 503
    assert problem.get_json()["type"].endswith("#no-model")
    assert "No photos have been indexed yet" in problem.get_json()["detail"]


def test_until_there_is_a_model_searches_are_unavailable(empty: FlaskClient) -> None:
    searched = empty.post("/api/v1/search", json={"vector": [1.0, 0.0]})
    assert (searched.status_code, searched.mimetype) == (503, "application/problem+json")
    ready = empty.get("/readyz")
    assert ready.status_code == 503
    assert ready.get_json() | {"problems": []} == {
        "ready": False, "model": None, "dimension": None, "photos": 0, "crosscheck": None, "problems": []
    }  # fmt: skip
    assert empty.get("/healthz").status_code == 200
    assert empty.get("/metrics").status_code == 200
    assert empty.get("/api/v1/models").get_json() == {"models": [], "serves": None}


def test_the_start_page_asks_for_a_key_and_then_offers_folders(empty: FlaskClient, tmp_path: Path) -> None:
    asking = empty.get("/").get_data(as_text=True)
    assert "Add your first photos" in asking and "Sign in to add photos" in asking
    assert str(Path.home()) not in asking, "folders of the server"
    (tmp_path / "holidays").mkdir()
    (tmp_path / "photo.jpg").touch()
    home = with_key(empty).get("/").get_data(as_text=True)
    assert str(Path.home()) in home and "Choose the folder with your photos." in home
    assert "Index this folder" not in home, "the whole home folder of the user"
    shown = empty.get("/add", query_string={"folder": tmp_path}).get_data(as_text=True)
    assert "Index this folder" in shown
    assert "1 photo in this folder" in shown and "holidays" in shown
    assert "Sign in" not in shown


def test_a_folder_is_indexed_with_an_installed_model_and_searched_without_a_restart(
    installed: FlaskClient, settings: Settings, bundle: Bundle, library: Path
) -> None:
    assert bundle.model_id in installed.get("/").get_data(as_text=True)
    started = installed.post("/add", data={"folder": str(library), "model": bundle.model_id})
    assert (started.status_code, started.headers["Location"]) == (303, "/jobs")
    until(lambda: installed.get("/api/v1/jobs").get_json()["jobs"][0]["state"] == "done", PATIENCE)
    assert "Find the photos" in installed.get("/").get_data(as_text=True)
    assert installed.get("/readyz").get_json()["photos"] == 24
    photo = make.encoded(make.photo())
    found = installed.post("/api/v1/search", data={"image": (BytesIO(photo), "a.jpg")})
    assert len(found.get_json()["results"]) == 10
    assert json.loads((settings.home / "library.json").read_text()) == [os.path.realpath(library)]


def test_stored_photos_are_indexed_by_a_job(installed: FlaskClient, settings: Settings, bundle: Bundle) -> None:
    photos = [make.encoded(make.photo("red", seed)) for seed in range(3)]
    for photo in [*photos, photos[0]]:
        stored = installed.post("/api/v1/uploads", data={"image": (BytesIO(photo), "a.jpg")})
        assert stored.status_code == 201
    folder = stored.get_json()["folder"]
    refused = installed.post("/api/v1/uploads", data={"image": (BytesIO(b"no photo"), "a.jpg")})
    assert refused.status_code == 422
    job = installed.post(
        "/api/v1/jobs", json={"sources": [folder], "label_from": "none", "model": bundle.model_id}
    ).get_json()
    until(lambda: load_job(settings, job["id"]).state == "done", PATIENCE)
    assert load_job(settings, job["id"]).indexed == 3
    labelled = {"image": (BytesIO(make.encoded(make.photo("green", 9))), "a.jpg"), "label": "tree"}
    source = installed.post("/api/v1/uploads", data=labelled).get_json()["folder"]
    job = installed.post("/api/v1/jobs", json={"sources": [source]}).get_json()
    until(lambda: load_job(settings, job["id"]).state == "done", PATIENCE)
    assert installed.get("/api/v1/labels").get_json()["labels"] == [{"label": "tree", "count": 1}]
    assert not (settings.home / "library.json").exists(), "the folder of uploads needs no choice"


def test_only_administrators_choose_folders_and_only_on_a_loopback_address(
    settings: Settings, library: Path, bundle: Bundle
) -> None:
    install_bundle(bundle, settings.models_folder)
    keys = settings.model_copy(update={"api_keys": Settings(api_keys="w:write:wren,admin").api_keys})
    order = {"sources": [str(library)], "model": bundle.model_id}
    with open_store(settings) as store:
        for local, key, remedy in ((True, "wren", "scope admin"), (False, "admin", "LOOKALIKE_LIBRARY_ROOTS must")):
            client = create_app(keys, store, None, local=local).test_client()
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
            refused = client.post("/api/v1/jobs", json=order)
            assert refused.status_code == 422 and remedy in refused.get_json()["remedy"]
            assert str(Path.home()) not in client.get("/add").get_data(as_text=True)


def test_the_command_starts_without_a_model(settings: Settings) -> None:
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.terminate()
    assert (said["model"], said["photos"]) == (None, 0)
    assert process.returncode == 0


def test_an_uploaded_model_answers_searches_at_once(
    empty: FlaskClient, settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle.folder))
    refused = with_key(empty).post("/api/v1/models", data={"bundle": (BytesIO(b"no archive"), "bundle.zip")})
    assert (refused.status_code, refused.get_json()["type"]) == (409, "/api/docs#bad-bundle")
    assert "not a ZIP archive" in refused.get_json()["detail"]
    assert not list(settings.models_folder.iterdir())
    installed = empty.post("/api/v1/models", data={"bundle": (BytesIO(archive.read_bytes()), "bundle.zip")})
    assert (installed.status_code, installed.get_json()["serves"]) == (201, bundle.model_id)
    assert empty.get("/readyz").get_json() | {"crosscheck": None} == {
        "ready": True, "model": bundle.model_id, "dimension": bundle.dimension, "photos": 0, "crosscheck": None,
        "problems": [],
    }  # fmt: skip
    commands = empty.get("/").text
    assert "api/v1/jobs" in commands and "lookalike index" not in commands, "the server holds the index"


def test_only_an_administrator_installs_models(settings: Settings) -> None:
    keys = settings.model_copy(update={"api_keys": Settings(api_keys="w:write:wren").api_keys})
    with open_store(settings) as store:
        client = create_app(keys, store, None, local=True).test_client()
        for path in ("/api/v1/models", "/add/model"):
            data = {"bundle": (BytesIO(b""), "bundle.zip")}
            assert client.post(path, data=data).status_code == 401
            key = {"Authorization": "Bearer wren"}
            assert client.post(path, data={"bundle": (BytesIO(b""), "a.zip")}, headers=key).status_code == 403


def test_a_bundle_that_is_too_large_is_refused_with_a_remedy(empty: FlaskClient) -> None:
    form = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": "2000000001"}
    refused = with_key(empty).post("/api/v1/models", environ_overrides=form)
    assert refused.status_code == 413
    assert refused.get_json()["detail"] == "The upload is larger than 2,000 MB."
    assert "--bundle" in refused.get_json()["remedy"]


@pytest.mark.parametrize(
    ("folder", "sentence"), [("/does/not/exist", "does not exist on the server"), ("", "This link is incomplete")]
)
def test_a_folder_that_cannot_be_indexed_is_refused_on_the_page(
    installed: FlaskClient, folder: str, sentence: str
) -> None:
    refused = installed.post("/add", data={"folder": folder}, headers={"Accept": "text/html"})
    assert refused.status_code == 422 and sentence in refused.text


def test_a_key_that_is_typed_wrongly_can_be_corrected(empty: FlaskClient, settings: Settings) -> None:
    browser = {"Accept": "text/html"}
    for _ in range(5):
        wrong = empty.post("/login", data={"key": "wrong"}, headers=browser)
        assert wrong.status_code == 401
        assert "The key is wrong" in wrong.text and '<input type="password" name="key"' in wrong.text
    (key, *_) = load_keys(settings)
    assert empty.post("/login", data={"key": f" {key.secret}\n"}, headers=browser).status_code == 303
