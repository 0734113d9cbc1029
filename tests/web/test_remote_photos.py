"""Photos that were indexed from a URL: their files, thumbnails and pages, and which of them are given out."""

import io
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import make
import pytest
from marks import slow
from PIL import Image
from serving import ROOT, Site, client_of, with_key

from indexer.batch import BatchIndexer
from indexer.sources import list_sources
from retrieval.photo_ref import photo_id
from retrieval.source_policy import SourcePolicy
from retrieval.stores import remote
from retrieval.stores.remote import RemoteStore
from web.services import EXTENSION

LIBRARY = "s3://photos/2026"
RED, BLUE = f"{LIBRARY}/red/0.jpg", f"{LIBRARY}/blue/0.jpg"
PARTS = pytest.mark.parametrize("part", [slow("file"), "thumbnail"])


def index(own: Site, source: str) -> None:
    """Index what lies below a URL beside the photos that a site has."""
    with BatchIndexer(own.searcher.embedder, own.searcher.index, own.searcher.decoder) as indexer:
        photos = list_sources([source], policy=SourcePolicy(allow_urls=True))
        assert not any(outcome.failures for outcome in indexer.run(photos))


def pretend(own: Site, uri: str) -> None:
    """Have the index say that there is a photo at a URL."""
    (point, *_) = own.searcher.index.scroll()
    own.searcher.index.upsert([replace(point, id=photo_id(uri), payload=replace(point.payload, uri=uri))])


def url(uri: str, part: str) -> str:
    return f"/api/v1/images/{photo_id(uri)}/{part}"


@pytest.fixture
def bucket(s3, own: Site) -> Site:
    """A site whose index also holds the photos of a bucket."""
    index(own, LIBRARY)
    return own


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs that are read from now on."""
    read, seen = RemoteStore.read, list[str]()
    monkeypatch.setattr(RemoteStore, "read", lambda self, uri, *limit: seen.append(uri) or read(self, uri, *limit))
    return seen


def test_a_photo_in_a_bucket_is_shown_like_one_on_disk(bucket: Site, library: Path) -> None:
    original = (library / "red" / "0.jpg").read_bytes()
    file = bucket.client.get(url(RED, "file"))
    assert (file.status_code, file.data, file.mimetype) == (200, original, "image/jpeg")
    assert file.headers["Content-Disposition"] == "inline; filename=0.jpg"
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in file.headers["Cache-Control"] and "max-age" in file.headers["Cache-Control"]
    part = bucket.client.get(url(RED, "file"), headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.data) == (206, original[:10])
    thumbnail = bucket.client.get(url(RED, "thumbnail"))
    assert (thumbnail.status_code, thumbnail.mimetype) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(thumbnail.data)).size == (120, 90)


def test_what_a_browser_must_not_show_is_a_download(s3, own: Site) -> None:
    s3.put_object(Bucket="photos", Key="2026/scan.tif", Body=make.encoded(make.photo(), "TIFF"))
    index(own, LIBRARY)
    scan = f"{LIBRARY}/scan.tif"
    file = own.client.get(url(scan, "file"))
    assert file.mimetype == "application/octet-stream"
    assert file.headers["Content-Disposition"] == "attachment; filename=scan.tif"
    assert url(scan, "rendition") in own.client.get(f"/photo/{photo_id(scan)}").text


@PARTS
def test_an_unchanged_object_is_neither_read_nor_sent_again(s3, bucket: Site, reads: list[str], part: str) -> None:
    first = bucket.client.get(url(RED, part))
    assert reads == [RED]
    unchanged = bucket.client.get(url(RED, part), headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert reads == [RED]
    s3.put_object(Bucket="photos", Key="2026/red/0.jpg", Body=make.encoded(make.photo("blue", 77)))
    changed = bucket.client.get(url(RED, part), headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200 and changed.data != first.data
    assert reads == [RED, RED]


def test_a_thumbnail_is_kept(bucket: Site, reads: list[str]) -> None:
    made = bucket.client.get(url(RED, "thumbnail"))
    assert bucket.client.get(url(RED, "thumbnail")).data == made.data
    assert reads == [RED]


def test_where_a_store_tells_no_version_the_content_is_it(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MODIFIED", ())
    memory = fsspec.filesystem("memory")
    memory.pipe("/own/1.jpg", make.encoded(make.photo("red", 1)))
    index(own, "memory://own")
    first = own.client.get(url("memory:///own/1.jpg", "thumbnail"))
    memory.pipe("/own/1.jpg", make.encoded(make.photo("red", 2)))
    second = own.client.get(url("memory:///own/1.jpg", "thumbnail"), headers={"If-None-Match": first.headers["ETag"]})
    memory.rm("/own", recursive=True)
    assert second.status_code == 200 and second.data != first.data


def test_the_page_of_a_photo_shows_it_and_says_where_it_is(bucket: Site) -> None:
    page = bucket.client.get(f"/photo/{photo_id(RED)}").text
    assert f'class="large" src="{url(RED, "file")}"' in page and "<dt>Location</dt><dd><bdi>0.jpg" in page


def test_a_search_from_a_part_of_it_finds_the_same_photo_on_disk(bucket: Site, reads: list[str]) -> None:
    crop = {"x": 0.1, "y": 0.1, "width": 0.8, "height": 0.8}
    body = {"id": str(photo_id(RED)), "crop": crop, "k": 1}
    answer = bucket.client.post("/api/v1/search", json=body)
    assert answer.status_code == 200 and len(answer.get_json()["results"]) == 1
    assert reads == [RED]


@PARTS
def test_an_object_that_is_gone_is_not_found(s3, bucket: Site, part: str) -> None:
    s3.delete_object(Bucket="photos", Key="2026/red/0.jpg")
    answer = bucket.client.get(url(RED, part))
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.get_json()["detail"] == f"{RED} is indexed, but no longer in its store."


@pytest.mark.slow
def test_a_store_that_refuses_is_unavailable_and_only_the_log_says_why(
    bucket: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.filesystem("s3").clear_instance_cache()
    answer = bucket.client.get(url(RED, "file"))
    assert answer.status_code == 503
    assert answer.get_json()["detail"] == f"The store of {RED} is unavailable."
    assert "credentials" not in answer.text and "NoCredentialsError" in caplog.text


@PARTS
def test_a_request_gives_up_on_a_silent_store(own: Site, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(own.app.extensions[EXTENSION].photo_files._remote, "_policy", SourcePolicy(timeout_seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/1.jpg"
        pretend(own, uri)
        answer = own.client.get(url(uri, part))
    assert answer.status_code == 503 and "is unavailable" in answer.get_json()["detail"]


@pytest.fixture
def archive(own: Site, library: Path, tmp_path: Path) -> Callable[[str], str]:
    """Indexes an archive of the library's photos; gives the URI of a photo in it."""
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for photo in library.rglob("*.jpg"):
            file.write(photo, f"all/{photo.relative_to(library)}")
    index(own, f"zip://all::{path}")
    return lambda name: f"zip://{name}::file://{path}"


def test_a_photo_in_an_archive_is_shown_by_its_own_name(
    own: Site, library: Path, archive: Callable[[str], str]
) -> None:
    red = archive("all/red/0.jpg")
    file = own.client.get(url(red, "file"))
    assert (file.data, file.mimetype) == ((library / "red" / "0.jpg").read_bytes(), "image/jpeg")
    assert file.headers["Content-Disposition"] == "inline; filename=0.jpg"
    assert own.client.get(url(red, "thumbnail")).status_code == 200
    page = own.client.get(f"/photo/{photo_id(red)}").text
    assert "<bdi>0.jpg</bdi>" in page and f'class="large" src="{url(red, "file")}"' in page


@pytest.mark.parametrize(
    ("root", "given", "refused"),
    [
        ("s3://photos/2026", {RED, BLUE}, set()),
        ("s3://photos/2026/red/", {RED}, {BLUE}),
        ("s3://photos/2026/re", set(), {RED, BLUE}),
        ("s3://other", set(), {RED}),
        ("/srv/photos", set(), {RED}),
    ],
)
def test_only_what_lies_below_a_root_is_given_out(bucket: Site, root: str, given: set[str], refused: set[str]) -> None:
    client = client_of(bucket, library_roots=(root,))
    for uri in given:
        assert client.get(url(uri, "file")).status_code == 200
    for uri in refused:
        answer = client.get(url(uri, "file"))
        assert answer.status_code == 404 and "outside the library" in answer.get_json()["detail"]


@pytest.mark.slow
@PARTS
def test_beside_a_url_folders_are_roots_too(bucket: Site, part: str) -> None:
    local = bucket.photos[0]
    only_url = client_of(bucket, library_roots=(LIBRARY,))
    assert only_url.get(url(local.uri, part)).status_code == 404
    both = client_of(bucket, library_roots=(LIBRARY, str(local.path.parent)))
    assert both.get(url(local.uri, part)).status_code == both.get(url(RED, part)).status_code == 200


def test_a_root_may_be_a_folder_of_an_archive(own: Site, archive: Callable[[str], str]) -> None:
    client = client_of(own, library_roots=(archive("all/red"),))
    assert client.get(url(archive("all/red/0.jpg"), "file")).status_code == 200
    assert client.get(url(archive("all/blue/0.jpg"), "file")).status_code == 404
    whole = client_of(own, library_roots=(archive(""),))
    assert whole.get(url(archive("all/blue/0.jpg"), "file")).status_code == 200
    other = archive("all/red/0.jpg").replace("photos.zip", "other.zip")
    pretend(own, other)
    assert whole.get(url(other, "file")).status_code == 404


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.setblocking(False)
        yield made


@pytest.mark.parametrize("way", ["../secret.jpg", "a/../../secret.jpg", "%2e%2e/secret.jpg", "..%2Fsecret.jpg"])
def test_no_way_leads_upwards_out_of_a_root(own: Site, listener: socket.socket, way: str) -> None:
    root = f"http://127.0.0.1:{listener.getsockname()[1]}/photos"
    pretend(own, f"{root}/{way}")
    answer = client_of(own, library_roots=(root,)).get(url(f"{root}/{way}", "file"))
    assert answer.status_code == 404 and "outside the library" in answer.get_json()["detail"]
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_root_that_no_store_is_behind_gives_out_nothing(bucket: Site) -> None:
    answer = client_of(bucket, library_roots=("nosuch://photos",)).get(url(RED, "file"))
    assert answer.status_code == 503


@pytest.mark.parametrize("source", ["s3://photos/2026", f"{LIBRARY}/red", "zip://all::file:///photos.zip"])
def test_a_job_over_http_fetches_no_url_even_below_a_root(own: Site, source: str) -> None:
    client = with_key(client_of(own, local=True, library_roots=(LIBRARY,)))
    answer = client.post("/api/v1/jobs", json={"sources": [source]})
    assert answer.status_code == 422 and answer.get_json()["detail"] == f"{source} is a URL."
    assert LIBRARY not in client.get("/jobs").text


def test_without_photos_at_urls_nothing_is_loaded_for_them() -> None:
    code = "import sys, web.photo_files; sys.exit('fsspec' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
