"""What readers see of the places of photos: `path` always, `uri` only where that reveals nothing."""

import io
from pathlib import Path
from typing import Any

import make
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from serving import Site, client_of, with_key

from indexer.batch import BatchResult
from indexer.crosscheck import CrossCheck, Disagreement, save_cross_check
from indexer.jobs import IndexRequest, JobRecord
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings
from retrieval.stores import Failure
from web.shown_paths import ShownPaths

KEYS = (SecretStr("ann:read:r-key"), SecretStr("bob:write:w-key"))


def job_of(settings: Settings, source: str, *failures: Failure, error: str | None = None) -> str:
    """The record of a job that indexed a source; returns its id."""
    record = JobRecord(settings.jobs_folder, IndexRequest([source]), "model")
    record.count(BatchResult(len(failures), failures=failures))
    record.end("failed" if error else "done", error)
    return record.job.id


@pytest.mark.parametrize(
    ("roots", "source", "uri", "path"),
    [
        (["/srv"], "/srv/photos", "file:///srv/photos/red/1.jpg", "photos/red/1.jpg"),
        (["/srv", "/srv/photos"], "/srv/photos", "file:///srv/photos/red/1.jpg", "photos/red/1.jpg"),
        (["/other"], "/srv/photos", "file:///srv/photos/red/1.jpg", "red/1.jpg"),
        ([], "/srv/photos/", "file:///srv/photos/red/1.jpg", "red/1.jpg"),
        ([], "/srv/photos/list.csv", "file:///srv/photos/red/1.jpg", "red/1.jpg"),
        ([], "/srv/photos/list.csv", "file:///srv/photos/list.csv#line=3", "list.csv#line=3"),
        ([], "/srv/pho", "file:///srv/photos/red/1.jpg", "1.jpg"),
        ([], "/", "file:///srv/photos/red/1.jpg", "srv/photos/red/1.jpg"),
        ([], "/srv/my photos", "file:///srv/my%20photos/r%C3%B6t/1%0A.jpg", "röt/1\\n.jpg"),
        ([], "s3://shop/photos", "s3://shop/photos/red/1.jpg", "red/1.jpg"),
        (["s3://shop"], "/srv", "s3://shop/photos/red/1.jpg", "photos/red/1.jpg"),
        ([], "zip://::file:///srv/photos.zip", "zip://red/1.jpg::file:///srv/photos.zip", "red/1.jpg"),
        ([], "zip://::file:///srv/photos.zip", "zip://red/1.jpg::file:///srv/other.zip", "1.jpg"),
    ],
)
def test_a_path_is_below_the_library_or_the_source(
    settings: Settings, roots: list[str], source: str, uri: str, path: str
) -> None:
    job_of(settings, source)
    assert ShownPaths(settings.model_copy(update={"library_roots": tuple(roots)})).of(uri) == path


def test_a_job_that_starts_later_is_noticed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.shown_paths.RESCAN_SECONDS", 0)
    paths = ShownPaths(settings)
    assert paths.of("file:///srv/photos/red/1.jpg") == "1.jpg"
    job_of(settings, "/srv/photos/red")
    assert paths.of("file:///srv/photos/red/1.jpg") == "1.jpg"
    job_of(settings, "/srv/photos")
    assert paths.of("file:///srv/photos/red/1.jpg") == "red/1.jpg"


@pytest.mark.parametrize(
    ("configured", "secret", "is_seen"),
    [
        ({"local": True}, None, True),
        ({"local": True, "reads_need_key": True}, "r-key", False),
        ({"local": True, "reads_need_key": True}, "w-key", True),
        ({"local": False}, None, False),
        ({"local": False}, "r-key", False),
        ({"local": False}, "w-key", True),
    ],
)
def test_readers_elsewhere_see_no_uri(own: Site, configured: dict[str, Any], secret: str | None, is_seen: bool) -> None:
    folder, photo = own.photos[0].path.parents[1], own.photos[0]
    client = client_of(own, api_keys=KEYS, library_roots=(str(folder),), **configured)
    if secret:
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    failure = Failure(uri_of(folder / "red" / "bad.jpg"), f"{folder}/red/bad.jpg can't be read (No).")
    job = job_of(own.settings, str(folder / "red"), failure, error=f"The index {own.settings.home}/index is damaged.")
    disagreement = Disagreement(photo.uri, [own.photos[1].uri], [own.photos[2].uri], 0.5)
    model = own.searcher.index.model
    save_cross_check(own.settings, CrossCheck(model, 1, 10, 0.9, 0.5, False, "2026-01-01", [disagreement]))
    own.photos[1].path.unlink()
    sent = {"image": (io.BytesIO(photo.path.read_bytes()), "photo.jpg"), "k": "1"}
    answers = [
        client.get(f"/api/v1/images/{photo.id}"),
        client.post("/api/v1/search", data=sent),
        client.get(f"/api/v1/jobs/{job}/failures"),
        client.get(f"/api/v1/jobs/{job}"),
        client.get("/api/v1/jobs"),
        client.get(f"/api/v1/jobs/{job}/events"),
        client.get(f"/api/v1/images/{own.photos[1].id}/file"),
        client.get("/readyz"),
    ]
    (result,), (failed,) = answers[1].get_json()["results"], answers[2].get_json()["failures"]
    path = str(photo.path.relative_to(folder))
    for found in (answers[0].get_json(), result):
        assert (found["uri"], found["path"]) == (photo.uri if is_seen else None, path)
    assert (failed["uri"], failed["path"]) == (failure.uri if is_seen else None, "red/bad.jpg")
    assert answers[3].get_json()["sources"] == [str(folder / "red") if is_seen else "red"]
    shown = answers[7].get_json()["crosscheck"]["disagreements"][0]
    assert shown["query"] == (photo.uri if is_seen else path) and shown["missing"] and shown["unexpected"]
    for answer in answers:
        assert is_seen == (str(folder.parent) in answer.text), answer.text
    jobs = client.get("/jobs").text
    assert is_seen == (str(folder) in jobs)
    assert ("Folder or manifest" in jobs) == (secret != "r-key"), "who has no key is asked for it"
    page = client.get(f"/photo/{photo.id}").text
    assert f"<dt>Location</dt><dd><bdi>{path}</bdi></dd>" in page and str(folder) not in page


def test_messages_about_photos_of_unknown_sources_name_no_folder(own: Site) -> None:
    elsewhere, outside = own.photos[0].path, own.settings.home.parent / "my secrets" / "x.jpg"
    failure = Failure(uri_of(outside), f"{outside} can't be read (No such file or directory).")
    job = job_of(own.settings, "/srv/list.csv", failure)
    elsewhere.unlink()
    elsewhere.symlink_to(outside)
    client = client_of(own)
    folders = ("my secrets", str(elsewhere.parent))
    for address in (f"/api/v1/images/{own.photos[0].id}/file", f"/api/v1/jobs/{job}/failures"):
        answer = client.get(address).text
        assert "x.jpg" in answer and not any(folder in answer for folder in folders), answer
    answer = client_of(own, library_roots=("/srv/photos",)).get(f"/api/v1/images/{own.photos[0].id}/file").text
    assert f"{elsewhere.name} is outside the library" in answer and not any(folder in answer for folder in folders)


def test_messages_name_the_home_and_the_bundle_without_their_folders(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    paths = ShownPaths(settings.model_copy(update={"home": tmp_path / "link", "bundle": tmp_path / "bundle"}))
    text = f"{tmp_path}/link/index/a, {tmp_path}/real/index/b, {tmp_path}/bundle/c, the bundle {tmp_path}/bundle"
    assert paths.without_folders(text) == "index/a, index/b, c, the bundle bundle"


def test_an_uploaded_photo_has_a_path_below_the_uploads(own: Site) -> None:
    client: FlaskClient = with_key(client_of(own))
    data = {"image": (io.BytesIO(make.encoded(make.photo())), "photo.jpg"), "label": "red"}
    added = client.post("/api/v1/images", data=data).get_json()
    assert added["path"] == f"labelled/red/{Path(added['uri']).name}"
