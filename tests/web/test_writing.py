"""Adding and removing photos over HTTP, and who may."""

import io
import json
import unicodedata
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import make
import pytest
from flask.testing import FlaskClient
from flushes import Flushes
from pydantic import SecretStr
from serving import Site, client_of, with_key
from werkzeug.test import TestResponse

from retrieval.photo_ref import path_of
from web import keys

IMAGES = "/api/v1/images"
LABELS = "/api/v1/labels"
KEY = {"Authorization": "Bearer sesame"}
PHOTO = make.encoded(make.photo("red", 99))


@pytest.fixture
def client(own: Site) -> FlaskClient:
    return with_key(client_of(own, local=True))


def add(client: FlaskClient, data: bytes = PHOTO, name: str = "photo.jpg", **more: Any) -> TestResponse:
    headers = more.pop("headers", {})
    return client.post(IMAGES, data={"image": (io.BytesIO(data), name), **more}, headers=headers)


def kept(own: Site) -> list[Path]:
    files = (path for path in (own.settings.home / "uploads").rglob("*") if path.is_file())
    return [path for path in files if path.name != ".lock"]


def test_an_added_photo_is_found_from_then_on(client: FlaskClient, own: Site) -> None:
    added = add(client, label="red")
    photo = added.get_json()
    assert added.status_code == 201 and added.headers["Location"] == f"{IMAGES}/{photo['id']}"
    assert (photo["label"], photo["width"], photo["height"], photo["bytes"]) == ("red", 120, 90, len(PHOTO))
    search = client.post("/api/v1/search", data={"image": (io.BytesIO(PHOTO), "photo.jpg")}).get_json()
    assert (search["results"][0]["id"], search["results"][0]["score"]) == (photo["id"], 1.0)
    assert client.get(photo["image_url"]).data == PHOTO
    assert client.get(photo["thumbnail_url"]).status_code == 200
    assert [path.parent.name for path in kept(own)] == ["red"]


def test_an_answered_write_is_flushed(client: FlaskClient, own: Site, flushes: Flushes) -> None:
    added = add(client, label="red").get_json()
    (path,) = kept(own)
    names = [flushed.name for flushed in flushes.paths]
    file = next(number for number, name in enumerate(names) if name.startswith(f".{path.name}"))
    assert "wal" in names[file:], "the point is flushed after the file"
    assert own.settings.home / "uploads" in flushes.paths, "the folder that names the label's is flushed"
    flushes.paths.clear()
    assert client.delete(f"{IMAGES}/{added['id']}").status_code == 204
    assert [flushed.name for flushed in flushes.paths][-2:] == ["wal", "red"]


def test_a_photo_is_added_once_however_often_it_is_sent(client: FlaskClient, own: Site) -> None:
    first, again = add(client, label="red").get_json(), add(client, label="red").get_json()
    assert first["id"] == again["id"] and len(kept(own)) == 1 and own.searcher.index.count() == 25


def test_a_photo_needs_no_label(client: FlaskClient) -> None:
    assert add(client).get_json()["label"] is None


@pytest.mark.parametrize("name", ["../../evil.php", "/etc/cron.d/evil", "..\\evil.exe", "evil.html", "%2e%2e%2fevil"])
def test_the_clients_file_name_is_not_stored(client: FlaskClient, own: Site, name: str) -> None:
    answer = add(client, name=name)
    assert answer.status_code == 201
    (path,) = kept(own)
    assert path.parent == own.settings.home / "uploads" / "unlabelled"
    assert path.suffix == ".jpg" and "evil" not in path.name


@pytest.mark.parametrize("label", ["..", "../../etc", "a/b", "/etc", ".ssh", "a\nb", "a\x00b", "ü" * 128, "x" * 501])
def test_a_label_that_can_be_no_folder_is_refused(client: FlaskClient, own: Site, label: str) -> None:
    assert add(client, label=label).status_code == 422
    assert kept(own) == [] and own.searcher.index.count() == 24


@pytest.mark.parametrize("label", ["ورد أحمر", "玫瑰", "Rosa × alba", "<img src=x onerror=alert(1)>", "con"])
def test_a_label_may_be_any_other_text(client: FlaskClient, own: Site, label: str) -> None:
    photo = add(client, label=label).get_json()
    assert photo["label"] == label
    assert {"label": label, "count": 1} in client.get(LABELS).get_json()["labels"]
    page = client.get("/", query_string={"id": photo["id"]}).text
    assert "<img src=x" not in page


@pytest.mark.parametrize(
    "data",
    [b"", b"<html><script>alert(1)</script></html>", b"\x00\x00\x00\x18ftypmp42" + bytes(64), PHOTO[:300], b"GIF89a"],
    ids=["nothing", "HTML", "a video", "half a photo", "a header alone"],
)
def test_what_is_no_photo_is_not_kept(client: FlaskClient, own: Site, data: bytes) -> None:
    answer = add(client, data)
    assert answer.status_code == 422 and answer.get_json()["detail"]
    assert kept(own) == [] and own.searcher.index.count() == 24


def test_a_photo_added_over_http_is_deleted_whole_and_a_librarys_file_stays(client: FlaskClient, own: Site) -> None:
    photo = add(client).get_json()["id"]
    for kind in ("thumbnail", "rendition"):
        assert client.get(f"{IMAGES}/{photo}/{kind}").status_code == 200
    assert len(list((own.settings.home / "cache").rglob("*.jpg"))) == 2
    assert client.delete(f"{IMAGES}/{photo}").status_code == 204
    assert kept(own) == list((own.settings.home / "cache").rglob("*.jpg")) == []
    assert client.get(f"{IMAGES}/{photo}").status_code == client.delete(f"{IMAGES}/{photo}").status_code == 404
    of_the_library = own.photos[0]
    assert client.delete(f"{IMAGES}/{of_the_library.id}").status_code == 204
    assert of_the_library.path.is_file() and own.searcher.index.count() == 23


def test_a_photo_that_is_added_and_deleted_at_once_is_there_whole_or_not_at_all(client: FlaskClient, own: Site) -> None:
    photo = add(client).get_json()["id"]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(50):
            deleted = threads.submit(with_key(client.application.test_client()).delete, f"{IMAGES}/{photo}")
            added = threads.submit(add, client)
            assert deleted.result().status_code == 204
            assert added.result().status_code in (201, 404), "404: it is deleted before it is described"
            assert len(kept(own)) == own.searcher.index.count() - 24
            add(client)


def test_a_librarys_point_can_not_name_an_uploads_file(client: FlaskClient, own: Site, tmp_path: Path) -> None:
    """A link out of the folder of uploads is not followed."""
    photo = add(client).get_json()
    path = path_of(photo["uri"])
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    assert client.delete(f"{IMAGES}/{photo['id']}").status_code == 204
    assert outside.is_file()


def test_added_photos_are_shown_beside_a_library(own: Site) -> None:
    client = with_key(client_of(own, local=True, library_roots=(own.photos[0].path.parent,)))
    assert client.get(add(client).get_json()["image_url"]).status_code == 200


def test_a_key_opens(own: Site) -> None:
    client = client_of(own, api_keys=(SecretStr("open"), SecretStr("sesame")))
    refused = add(client)
    assert refused.status_code == 401 and refused.mimetype == "application/problem+json"
    assert refused.headers.getlist("WWW-Authenticate") == ["Bearer", 'Basic realm="photo search"']
    basic = b64encode(b"anybody:sesame").decode()
    for wrong in ("Bearer sesam", "Bearer", "Bearer sésame", "sesame", f"Digest {basic}", "Basic !"):
        assert add(client, headers={"Authorization": wrong}).status_code == 401, wrong
    assert client.get(LABELS).status_code == 200, "reading needs none"
    assert add(client, headers=KEY).status_code == 201
    assert add(client, headers={"Authorization": f"Basic {basic}"}).status_code == 201


def test_every_key_is_compared_in_constant_time(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(sent: bytes, key: bytes) -> bool:
        compared.append(key)
        return sent == key

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    client = client_of(own, api_keys=(SecretStr("sesame"), SecretStr("other")))
    assert add(client, headers=KEY).status_code == 201
    assert compared == [b"sesame", b"other"], "the first match ends nothing"


def test_reading_takes_a_key_where_that_is_set(own: Site) -> None:
    client = client_of(own, api_keys=(SecretStr("sesame"),), reads_need_key=True)
    for path in ("/", LABELS, "/metrics", "/readyz", "/openapi.json", f"{IMAGES}/{own.photos[0].id}/thumbnail"):
        assert client.get(path).status_code == 401, path
        assert client.get(path, headers=KEY).status_code == 200, path
    assert (
        client.get("/healthz").status_code
        == client.get(f"{client.application.static_url_path}/icon.svg").status_code
        == 200
    )


def test_writing_to_a_read_only_server_is_refused(own: Site) -> None:
    refused = add(client_of(own, read_only=True, api_keys=(SecretStr("sesame"),)), headers=KEY)
    assert refused.status_code == 403 and "read-only" in refused.get_json()["detail"]


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-For": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"}])
def test_writing_always_needs_a_key(own: Site, local: bool, headers: dict[str, str]) -> None:
    """An ordinary reverse proxy sends no header that tells its requests from local ones."""
    client = client_of(own, local=local)
    assert add(client, headers=headers).status_code == 401
    assert client.delete(f"{IMAGES}/{own.photos[0].id}", headers=headers).status_code == 401
    assert own.searcher.index.count() == 24
    assert add(with_key(client), headers=headers).status_code == 201


def test_every_call_that_changes_something_takes_a_key(own: Site) -> None:
    client = client_of(own, api_keys=(SecretStr("sesame"),))
    document = client.get("/openapi.json").get_json()
    writing = {
        (method, path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "get" and not path.endswith(("/search", "/explain", "/embeddings", "/zip", "/export"))
    }
    assert len(writing) == 16
    names = {"photo": own.photos[0].id, "job": "20260101-000000-abcdef", "model": own.searcher.index.model, "name": "a"}
    for (method, path), operation in writing.items():
        assert client.open(path.format(**names), method=method).status_code == 401, (method, path)
        assert operation["security"] == [{"key": []}], (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_no_website_writes_through_its_visitors_browser(client: FlaskClient, headers: dict[str, str]) -> None:
    assert add(client, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}]
)
def test_the_page_itself_writes(client: FlaskClient, headers: dict[str, str]) -> None:
    assert add(client, headers=headers).status_code == 201


def test_pages_of_a_named_website_may_call(own: Site) -> None:
    friend = {"Origin": "https://friend.example"}
    client = client_of(own, api_keys=(SecretStr("sesame"),), cors_origins=("https://friend.example",))
    asked = client.options(IMAGES, headers=friend | {"Access-Control-Request-Method": "POST"})
    assert asked.headers["Access-Control-Allow-Origin"] == "https://friend.example"
    assert add(client, headers=friend | KEY).status_code == 201
    stranger = client.get(LABELS, headers={"Origin": "https://stranger.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers
    assert "Access-Control-Allow-Origin" not in client_of(own).get(LABELS, headers=friend).headers


def test_a_full_disk_is_told(client: FlaskClient, own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        answer = add(client)
    assert answer.status_code == 503 and "No space left" in answer.get_json()["detail"]
    assert own.searcher.index.count() == 24


def test_a_photo_is_sent_as_a_form(client: FlaskClient) -> None:
    assert client.post(IMAGES, json={"image": "?"}).status_code == 415
    assert add(client, colour="red").status_code == 422
    assert client.post(IMAGES, data={"label": "red"}, content_type="multipart/form-data").status_code == 422


def test_a_label_is_stored_composed_and_trimmed(client: FlaskClient) -> None:
    decomposed = unicodedata.normalize("NFD", "rosé")
    photo = add(client, label=f" {decomposed} ").get_json()
    assert photo["label"] == "rosé"
    for label in ("rosé", decomposed, " rosé"):
        found = client.post("/api/v1/search", json={"id": photo["id"], "label": [label], "k": 1})
        assert found.status_code == 200, "the filter knows every form of the label"
    assert add(client, label="  ").status_code == 422
    assert add(client, label="@eaDir").status_code == 422


def test_a_removed_photo_of_a_library_can_be_restored(client: FlaskClient, own: Site) -> None:
    photo = own.photos[0]
    assert client.post(f"{IMAGES}/{photo.id}/restore").status_code == 404
    assert client.delete(f"{IMAGES}/{photo.id}").status_code == 204
    assert client.get(f"{IMAGES}/{photo.id}").status_code == 404
    assert client.get(LABELS).get_json()["labels"] != []
    assert own.searcher.index.count() == 23
    listed = client.get(f"{IMAGES}/removed").get_json()
    assert listed["total"] == 1
    assert (listed["photos"][0]["id"], listed["photos"][0]["label"]) == (str(photo.id), photo.label)
    assert client.get(f"{IMAGES}/removed?offset=1").get_json() == {"photos": [], "total": 1}
    restored = client.post(f"{IMAGES}/{photo.id}/restore")
    assert (restored.status_code, restored.get_json()["id"]) == (200, str(photo.id))
    assert own.searcher.index.count() == 24
    assert client.delete(f"{IMAGES}/{photo.id}?forget=true").status_code == 204
    assert client.post(f"{IMAGES}/{photo.id}/restore").status_code == 404


def test_what_a_person_adds_is_added_even_if_it_was_removed(client: FlaskClient, own: Site) -> None:
    photo = own.photos[0]
    assert client.delete(f"{IMAGES}/{photo.id}").status_code == 204
    assert add(client, photo.path.read_bytes()).status_code == 201
    assert own.searcher.index.count() == 24


def test_a_content_with_another_label_is_one_photo_with_the_later_label(client: FlaskClient, own: Site) -> None:
    first = add(client, label="red").get_json()
    assert first["replaced_label"] is None
    for label, replaced in (("pink", "red"), ("red", "pink"), ("rose", "red"), ("rose", None)):
        again = add(client, label=label).get_json()
        assert (again["id"], again["label"], again["replaced_label"]) == (first["id"], label, replaced)
    assert add(client).get_json()["label"] == "rose", "without a label, it keeps its own"
    assert len(kept(own)) == 1 and own.searcher.index.count() == 25
    client.patch(f"{IMAGES}/{first['id']}", json={"label": "tulip"})
    assert add(client, label="red").get_json()["label"] == "tulip", "a person has confirmed it"


def test_the_same_photo_sent_at_once_with_different_labels_is_one_photo(client: FlaskClient, own: Site) -> None:
    with ThreadPoolExecutor(4) as threads:
        sent = list(threads.map(lambda label: add(client, label=label).get_json(), ["a", "b", "c", "d"]))
    assert len({photo["id"] for photo in sent}) == 1 and len(kept(own)) == 1
    assert sum(photo["replaced_label"] is not None for photo in sent) == 3


def test_several_photos_are_added_with_their_columns(client: FlaskClient, own: Site) -> None:
    files = [(io.BytesIO(data), "photo.jpg") for data in (PHOTO, b"no photo", make.encoded(make.photo("blue", 98)))]
    columns = json.dumps([{"price": 1, "new": True}, {}, {"price": 2.5}])
    answer = client.post(IMAGES, data={"image": files, "label": "shop", "columns": columns})
    assert answer.status_code == 201 and "Location" not in answer.headers
    one, failed, other = answer.get_json()["photos"]
    assert (one["extra"], other["extra"], other["label"]) == ({"price": 1, "new": True}, {"price": 2.5}, "shop")
    assert failed["error"]["status"] == 422 and failed["error"]["type"].endswith("#unreadable-photo")
    found = client.get(IMAGES, query_string={"where": '{"price": {"gte": 2}}'}).get_json()["images"]
    assert [photo["id"] for photo in found] == [other["id"]]
    before = kept(own)
    for wrong in ("{", "[{}, {}]", '{"price": "cheap"}', '{"price": {"eur": 1}}', "3"):
        refused = add(client, make.encoded(make.photo("blue", 97)), columns=wrong)
        assert refused.status_code == 422 and "columns" in refused.get_json()["detail"], wrong
    assert kept(own) == before
