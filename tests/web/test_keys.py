"""Keys: the file with the key of a server, scopes of configured keys, and the cookie of a browser that signed in."""

import io
import logging
import stat
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

import make
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from serving import Site, client_of
from waiting import until
from werkzeug.test import TestResponse

from retrieval.api_keys import Key, Scope, load_keys
from retrieval.errors import LookalikeError
from retrieval.settings import Settings
from web.services import EXTENSION

IMAGES = "/api/v1/images"
PHOTO = make.encoded(make.photo("red", 99))
ENTRIES = tuple(map(SecretStr, ("ann:read:r-key", "bob:write:w-key", "eve:admin:a-key", "plain-key")))
HTML = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def client(own: Site) -> FlaskClient:
    return client_of(own, local=True, api_keys=ENTRIES, library_roots=(str(own.photos[0].path.parents[1]),))


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def add(client: FlaskClient, headers: dict[str, str]) -> TestResponse:
    return client.post(IMAGES, data={"image": (io.BytesIO(PHOTO), "photo.jpg")}, headers=headers)


def test_the_first_start_creates_a_key_that_only_its_owner_reads(settings: Settings) -> None:
    (key,) = load_keys(settings)
    path = settings.home / "api-key"
    assert path.read_text() == f"{key.secret}\n" and len(key.secret) >= 43
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (key.name, key.scope) == ("admin", Scope.ADMIN)
    assert load_keys(settings) == (key,), "the next start uses the same key"
    path.write_text("\n")
    assert load_keys(settings) != (key,), "an empty file is replaced"


def test_processes_that_start_together_use_one_key(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        barrier = threading.Barrier(8)
        keys = threads.map(lambda _: (barrier.wait(), load_keys(settings))[1], range(8))
    assert len(set(keys)) == 1


def test_a_home_that_can_not_be_written_is_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(LookalikeError, match="set LOOKALIKE_API_KEYS"):
        load_keys(settings)


def test_configured_keys_replace_the_file(settings: Settings) -> None:
    configured = settings.model_copy(update={"api_keys": ENTRIES})
    assert load_keys(configured) == (
        Key("ann", Scope.READ, "r-key"),
        Key("bob", Scope.WRITE, "w-key"),
        Key("eve", Scope.ADMIN, "a-key"),
        Key("admin", Scope.ADMIN, "plain-key"),
    )
    assert not (settings.home / "api-key").exists()


def test_an_unknown_scope_is_reported_without_the_key(settings: Settings) -> None:
    configured = settings.model_copy(update={"api_keys": (SecretStr("bob:wirte:sesame"),)})
    with pytest.raises(LookalikeError, match="bob in LOOKALIKE_API_KEYS has the unknown scope wirte") as error:
        load_keys(configured)
    assert "sesame" not in str(error.value)


@pytest.mark.parametrize("name", ["", "ä", "two words", "n" * 65])
def test_a_key_with_a_scope_and_no_valid_name_is_refused(settings: Settings, name: str) -> None:
    configured = settings.model_copy(update={"api_keys": (SecretStr(f"{name}:read:sesame"),)})
    with pytest.raises(LookalikeError, match=r"A key with the scope read in .* has no valid name") as error:
        load_keys(configured)
    assert "sesame" not in str(error.value)


def test_a_key_with_colons_and_no_scope_is_a_key(settings: Settings) -> None:
    configured = settings.model_copy(update={"api_keys": (SecretStr("ä:b:c"),)})
    assert load_keys(configured) == (Key("admin", Scope.ADMIN, "ä:b:c"),)


def test_a_key_that_is_no_text_is_reported(settings: Settings) -> None:
    settings.home.mkdir(exist_ok=True)
    (settings.home / "api-key").write_bytes(b"\xff\xfe key")
    with pytest.raises(LookalikeError, match="is not UTF-8 text"):
        load_keys(settings)


def test_a_key_of_any_characters_is_accepted_in_each_way(own: Site) -> None:
    client = client_of(own, api_keys=(SecretStr("schlüssel +&: €"),), local=True)
    for headers in (
        {"Authorization": "Bearer schlüssel +&: €".encode().decode("latin-1")},
        {"Authorization": "Basic " + b64encode("me:schlüssel +&: €".encode()).decode()},
    ):
        assert client.post("/api/v1/models/rollback", headers=headers).status_code == 404
    assert client.post("/login", data={"key": "schlüssel +&: €"}).status_code == 303
    assert client.get("/login", query_string={"key": "schlüssel +&: €"}).status_code == 303


@pytest.mark.parametrize(
    ("secret", "added", "activated"),
    [("r-key", 403, 403), ("w-key", 201, 403), ("a-key", 201, 404), ("plain-key", 201, 404), ("other", 401, 401)],
)
def test_a_scope_limits_what_a_key_permits(client: FlaskClient, secret: str, added: int, activated: int) -> None:
    assert client.get("/api/v1/labels", headers=bearer(secret)).status_code == 200
    assert add(client, bearer(secret)).status_code == added
    for call in ("nothing/activate", "rollback"):
        assert client.post(f"/api/v1/models/{call}", headers=bearer(secret)).status_code == activated
    if added == 403:
        refused = add(client, bearer(secret))
        assert "has the scope read; this request needs write" in refused.get_json()["detail"]
        assert "insufficient_scope" in refused.headers["WWW-Authenticate"]


def test_of_two_keys_in_a_browser_the_last_one_counts(client: FlaskClient) -> None:
    for secret, added in (("r-key", 403), ("w-key", 201), ("r-key", 403)):
        assert client.get(f"/login?key={secret}").status_code == 303
        assert add(client, {}).status_code == added


def test_a_key_of_any_scope_reads_where_reading_needs_one(own: Site) -> None:
    client = client_of(own, api_keys=ENTRIES, reads_need_key=True)
    assert client.get("/api/v1/labels").status_code == 401
    assert client.get("/api/v1/labels", headers=bearer("r-key")).status_code == 200
    assert client.get("/login").status_code == 200
    client.get("/login?key=r-key")
    assert client.get("/api/v1/labels").status_code == 200


def test_the_printed_link_signs_a_browser_in(own: Site) -> None:
    client = client_of(own, local=True)
    assert add(client, {}).status_code == 401
    (key,) = load_keys(own.settings)
    answer = client.get(f"/login?key={key.secret}")
    assert answer.status_code == 303 and answer.headers["Location"] == "/"
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["lookalike_80"]
    assert cookie["httponly"] and cookie["samesite"] == "Strict" and cookie["path"] == "/"
    assert key.secret not in answer.headers["Set-Cookie"]
    assert add(client, {}).status_code == 201
    assert client.post("/login", data={"key": key.secret}).status_code == 303
    assert client.delete_cookie("lookalike_80") is None
    assert add(client, {}).status_code == 401


def test_the_cookie_has_the_port_of_the_server_and_the_path_of_its_proxy(own: Site) -> None:
    client = client_of(own, proxies=1, api_keys=ENTRIES)
    environment = {"SERVER_PORT": "5000"}
    forwarded = {"X-Forwarded-Host": "photos.example", "X-Forwarded-Prefix": "/alike", "X-Forwarded-Proto": "https"}
    answer = client.get("/login?key=w-key", headers=forwarded, environ_overrides=environment)
    cookie = SimpleCookie(answer.headers["Set-Cookie"])["lookalike_5000"]
    assert cookie["path"] == "/alike" and cookie["secure"]
    assert urlsplit(answer.headers["Location"]).path == "/alike/"


@pytest.mark.parametrize("sent", ["?key=wrong", "?key=", "?key=%00", "?key=s%C3%A9same"])
def test_a_wrong_key_signs_nobody_in(client: FlaskClient, sent: str) -> None:
    answer = client.get(f"/login{sent}", headers=HTML)
    assert answer.status_code == 401 and "The key is wrong" in answer.text
    assert "Set-Cookie" not in answer.headers
    assert answer.headers.getlist("WWW-Authenticate") == ["Bearer"], "the browser shows no dialog of its own"


def test_the_cookie_of_a_former_key_is_worth_nothing(own: Site) -> None:
    client = client_of(own, api_keys=(SecretStr("former"),))
    client.get("/login?key=former")
    now = client_of(own, api_keys=(SecretStr("present"),))
    now.set_cookie("lookalike_80", client.get_cookie("lookalike_80").value)
    assert add(now, {}).status_code == 401
    assert add(now, bearer("present")).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:81"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ],
)
def test_another_website_can_not_use_a_visitors_cookie(client: FlaskClient, headers: dict[str, str]) -> None:
    client.get("/login?key=a-key")
    assert add(client, {"Origin": "http://localhost"}).status_code == 201
    assert add(client, headers).status_code == 403
    assert client.post("/login", data={"key": "r-key"}, headers=headers).status_code == 403


def test_a_script_of_the_page_gets_no_dialog_of_the_browser(client: FlaskClient) -> None:
    from_script, from_address_bar = (add(client, {"Sec-Fetch-Mode": mode}) for mode in ("cors", "navigate"))
    assert from_script.headers.getlist("WWW-Authenticate") == ["Bearer"]
    assert len(from_address_bar.headers.getlist("WWW-Authenticate")) == 2


def test_pages_show_the_controls_that_a_key_permits(client: FlaskClient) -> None:
    def shown() -> list[bool]:
        return [mark in client.get(page).text for page, mark in (("/jobs", 'class="start'), ("/models", "data-acti"))]

    assert shown() == [True, True], "whoever has no key yet is asked for it"
    for secret, expected in (("r-key", [False, False]), ("w-key", [True, False]), ("a-key", [True, True])):
        client.get(f"/login?key={secret}")
        assert shown() == expected


def test_jobs_and_logs_name_the_key(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lookalike.requests"):
        started = client.post("/api/v1/jobs", json={"sources": ["red"]}, headers=bearer("w-key"))
        client.get("/api/v1/labels")
    assert started.status_code == 202 and started.get_json()["started_by"] == "bob"
    of_job, of_labels = (record.getMessage() for record in caplog.records)
    assert of_job.endswith("] bob") and of_labels.endswith("]")
    job = f"/api/v1/jobs/{started.get_json()['id']}"
    until(lambda: client.get(job).get_json()["state"] != "running", seconds=60)
    assert client.get(job).get_json()["started_by"] == "bob"
    client.application.extensions[EXTENSION].jobs.close()
