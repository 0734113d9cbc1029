"""Searches that are saved under names: for each key, with their photos, and for another model."""

import io
import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import make
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from serving import Site, client_of, with_key

from web import kept_queries, saved_searches
from web.services import EXTENSION

SEARCHES = "/api/v1/searches"
KEYS = {"api_keys": (SecretStr("ann:read:sesame"), SecretStr("bob:write:pepper"))}


def client_with(site: Site, secret: str, **settings: object) -> FlaskClient:
    client = client_of(site, **KEYS, **settings)
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return client


def upload(client: FlaskClient) -> str:
    """Search by a new photo; returns the address of the results."""
    page = client.post("/", data={"image": (io.BytesIO(make.encoded(make.photo("green", 77))), "photo.jpg")})
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    return unescape(address)


def cards(client: FlaskClient, address: str) -> list[str]:
    page = client.get(address, follow_redirects=True)
    assert page.status_code == 200, page.text
    return re.findall(r'class="card" href="/photo/([0-9a-f-]+)"', page.text)


def names(client: FlaskClient) -> list[str]:
    return [search["name"] for search in client.get(SEARCHES).get_json()["searches"]]


def test_each_key_saves_opens_renames_and_removes_its_own_searches(own: Site) -> None:
    ann, bob = client_with(own, "sesame"), client_with(own, "pepper")
    address = f"/?id={own.photos[0].id}&label=red"
    saved = ann.put(f"{SEARCHES}/Sommer%20ü", json={"address": f"{address}&offset=24&find=r"})
    assert saved.status_code == 201 and saved.get_json()["address"] == address
    assert ann.put(f"{SEARCHES}/all", json={"address": "/photos?q=7&sort=name"}).status_code == 201
    assert ann.put(f"{SEARCHES}/all", json={"address": "/photos?q=7&offset=10008&after=x"}).status_code == 200
    assert names(ann) == ["all", "Sommer ü"] and names(bob) == []
    page_url = ann.get(f"{SEARCHES}/Sommer%20ü").get_json()["page_url"]
    assert cards(ann, page_url) == cards(ann, address)
    assert ann.get(f"{SEARCHES}/all").get_json()["address"] == "/photos?q=7"
    assert bob.get(page_url).status_code == 404
    taken = ann.patch(f"{SEARCHES}/all", json={"name": "Sommer ü"})
    assert taken.status_code == 409 and taken.get_json()["type"].endswith("#name-in-use")
    assert ann.patch(f"{SEARCHES}/all", json={"name": "sevens"}).status_code == 200
    assert ann.delete(f"{SEARCHES}/Sommer%20ü").status_code == 204
    assert ann.delete(f"{SEARCHES}/Sommer%20ü").status_code == 404
    assert names(ann) == ["sevens"]
    stranger = client_of(own, **KEYS)
    assert stranger.get(SEARCHES).status_code == stranger.get("/saved/sevens").status_code == 401
    assert client_with(own, "sesame", read_only=True).delete(f"{SEARCHES}/sevens").status_code == 403


@pytest.mark.parametrize(
    ("name", "address", "status"),
    [
        ("a", "/jobs", 422),
        ("a", "/", 422),
        ("a", "/?label=red", 422),
        ("a", "//[/?id=1", 422),
        ("a", "/?id=1", 422),
        ("a%00b", "/photos", 422),
        ("...", "/photos", 422),
        ("x" * 101, "/photos", 422),
    ],
)
def test_what_is_no_search_or_no_name_is_refused(client: FlaskClient, name: str, address: str, status: int) -> None:
    assert with_key(client).put(f"{SEARCHES}/{name}", json={"address": address}).status_code == status


def test_a_photo_is_kept_as_long_as_a_search_needs_it(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = with_key(own.client)
    address = upload(client)
    for name in ("one", "two"):
        assert client.put(f"{SEARCHES}/{name}", json={"address": address}).get_json()["photo_kept"]
    (query,) = (own.settings.home / "queries").glob("*.npz")
    query.unlink()
    assert 'src="data:image/jpeg;base64,' in client.get(address).text
    client.delete(f"{SEARCHES}/one")
    assert len(list((own.settings.home / "searches").glob("*.npz"))) == 1
    client.delete(f"{SEARCHES}/two")
    assert not list((own.settings.home / "searches").glob("*.npz"))
    monkeypatch.setattr(kept_queries, "MOST_PINNED_BYTES", -1)
    assert not client.put(f"{SEARCHES}/full", json={"address": upload(client)}).get_json()["photo_kept"]
    assert cards(client, "/saved/full")
    monkeypatch.setattr(saved_searches, "MOST_SEARCHES", 1)
    assert client.put(f"{SEARCHES}/more", json={"address": address}).status_code == 422
    assert client.put(f"{SEARCHES}/full", json={"address": address}).status_code == 200


def test_a_kept_photo_is_embedded_again_for_another_model(own: Site) -> None:
    client = with_key(own.client)
    address = upload(client)
    expected = cards(client, address)
    served: Any = client.application.extensions[EXTENSION]
    of_other_model = address.replace(f"model={own.searcher.index.model}", "model=other")
    assert client.get(of_other_model).status_code == 422
    client.put(f"{SEARCHES}/green", json={"address": of_other_model})
    (query,) = (own.settings.home / "queries").glob("*.npz")
    query.unlink()
    assert cards(client, "/saved/green") == expected
    saved = served.saved_searches.find("admin", "green")
    assert parse_qs(urlsplit(saved.address).query)["model"] == [own.searcher.index.model]
    assert served.saved_searches.keeps_photo(saved)
    assert len(list((own.settings.home / "searches").glob("*.npz"))) == 1


def test_a_damaged_file_is_named_and_harms_no_other_key(own: Site) -> None:
    ann, bob = client_with(own, "sesame"), client_with(own, "pepper")
    folder = own.settings.home / "searches"
    folder.mkdir()
    (folder / "ann.json").write_text("{")
    refused = ann.get(SEARCHES)
    assert refused.status_code == 503 and "are damaged" in refused.get_json()["detail"]
    assert bob.put(f"{SEARCHES}/x", json={"address": "/photos"}).status_code == 201
