"""The upload of a model: stored on disk, with a limit of time of its own, and nothing left behind."""

import os
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from serving import with_key
from werkzeug.test import EnvironBuilder, TestResponse

from retrieval.bundle import Bundle
from retrieval.errors import BadBundle
from retrieval.settings import Settings
from web import arrival
from web.large_file import MAX_SECONDS
from web.multipart import PhotoRequest

MB = 1 << 20
HEAD = b'--b\r\nContent-Disposition: form-data; name="bundle"; filename="bundle.zip"\r\n\r\n'
END = b"\r\n--b--\r\n"

both = pytest.mark.parametrize(("path", "status"), [("/api/v1/models", 201), ("/add/model", 303)])


@pytest.fixture
def form(bundle: Bundle, tmp_path: Path) -> Path:
    """The body of an upload of a bundle with a file of 6 MB that serving does not need."""
    with (tmp_path / "form").open("wb") as file:
        file.write(HEAD)
        with zipfile.ZipFile(file, "w") as archive:
            for one in bundle.folder.iterdir():
                if one.is_file():
                    archive.write(one, one.name)
            archive.writestr("training/weights", os.urandom(6 * MB))
        file.seek(0, os.SEEK_END)
        file.write(END)
    return tmp_path / "form"


def send(client: FlaskClient, path: str, form: Path, size: int) -> TestResponse:
    """Post a form that should have this many bytes."""
    with form.open("rb") as body:
        return client.post(path, input_stream=body, content_length=size, content_type="multipart/form-data; boundary=b")


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@both
def test_it_is_not_held_in_memory(empty: FlaskClient, form: Path, bundle: Bundle, path: str, status: int) -> None:
    with_key(empty)
    tracemalloc.start()
    sent = send(empty, path, form, form.stat().st_size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent.status_code == status, sent.text
    assert empty.get("/api/v1/models").get_json()["serves"] == bundle.model_id
    assert peak < 3 * MB


@both
def test_nothing_is_left_behind_if_it_breaks_off(
    empty: FlaskClient, form: Path, settings: Settings, path: str, status: int
) -> None:
    del status
    with_key(empty)
    before, size = files(settings.home), form.stat().st_size
    os.truncate(form, 3 * MB)
    assert send(empty, path, form, size).status_code in (409, 422), "there is no bundle in the form"
    assert files(settings.home) == before


@both
def test_an_administrator_has_an_hour(empty: FlaskClient, path: str, status: int) -> None:
    del status

    def limit_of_a_request() -> float:
        deadline = arrival.begin()
        empty.post(path, data={"bundle": (BytesIO(b"no archive"), "bundle.zip")})
        return deadline.seconds_left

    assert limit_of_a_request() <= arrival.MAX_REQUEST_SECONDS, "without a key"
    with_key(empty)
    assert arrival.MAX_REQUEST_SECONDS < limit_of_a_request() <= MAX_SECONDS


def test_an_upload_that_cannot_be_stored_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    data = {"bundle": (BytesIO(b"an archive"), "bundle.zip")}
    sent = PhotoRequest(EnvironBuilder(method="POST", data=data).get_environ())
    sent.store_files_in(tmp_path / "missing")
    with pytest.raises(BadBundle, match=r"The upload can't be stored \(No such file or directory\)"):
        _ = sent.files


def test_a_bundle_without_a_file_name_is_refused(empty: FlaskClient) -> None:
    body = HEAD.replace(b'; filename="bundle.zip"', b"") + b"an archive" + END
    refused = with_key(empty).post("/api/v1/models", data=body, content_type="multipart/form-data; boundary=b")
    assert refused.status_code == 422
    assert refused.get_json()["errors"] == [{"field": "bundle", "message": "must be a file with a name"}]
