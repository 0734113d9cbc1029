"""Correcting the label and columns of photos over HTTP: versions, wrong fields, and several people at once."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from serving import Site, client_of, with_key
from werkzeug.test import TestResponse

from indexer.correction_log import read_corrections
from retrieval.columns.schema import ColumnSchema, save_schema

IMAGES = "/api/v1/images"


@pytest.fixture
def client(own: Site) -> FlaskClient:
    save_schema(own.searcher.index, ColumnSchema(kinds={"price": "number", "sold": "date", "shop": "text"}))
    return with_key(client_of(own, local=True))


@pytest.fixture
def address(own: Site) -> str:
    """Of a red photo."""
    return f"{IMAGES}/{next(photo.id for photo in own.photos if photo.label == 'red')}"


def patch(client: FlaskClient, address: str, version: str | None = None, **changes: Any) -> TestResponse:
    headers = {} if version is None else {"If-Match": version}
    return client.patch(address, json=changes, headers=headers)


def test_a_label_is_corrected_and_confirmed(client: FlaskClient, address: str, own: Site) -> None:
    before = client.get(address)
    assert before.get_json()["confirmed"] is False
    assert before.headers["ETag"] == f'"{before.get_json()["version"]}"'
    after = patch(client, address, before.headers["ETag"], label="  Cafe\u0301 ")
    assert (after.status_code, after.get_json()["label"], after.get_json()["confirmed"]) == (200, "Café", True)
    assert after.headers["ETag"] == client.get(address).headers["ETag"] != before.headers["ETag"]
    assert client.get(address).get_json() == after.get_json()
    assert client.get(IMAGES, query_string={"label": "Café"}).get_json()["total"] == 1
    (line,) = read_corrections(own.settings.home / "corrections.jsonl")
    (key, *_) = client.application.extensions["lookalike"].keys
    found = (line.key, line.sha256, line.old, line.new, line.confirmed)
    assert found == (key.name, before.get_json()["sha256"], "red", "Café", True)
    assert patch(client, address, label=None).get_json()["label"] is None


def test_only_what_is_given_changes(client: FlaskClient, address: str) -> None:
    changed = patch(client, address, columns={"price": 2.5, "sold": "2026-01-02", "colour": ["red", "pink"]}).get_json()
    assert (changed["label"], changed["confirmed"]) == ("red", False)
    assert patch(client, address, confirmed=True).get_json()["extra"] == changed["extra"]
    for where in ({"price": {"gte": 2}}, {"sold": "2026-01-02"}, {"colour": "pink"}):
        assert client.get(IMAGES, query_string={"where": json.dumps(where)}).get_json()["total"] == 1, where
    changed = patch(client, address, columns={"price": None, "shop": "Oslo"}).get_json()
    assert changed["extra"] == {"sold": "2026-01-02", "colour": ["red", "pink"], "shop": "Oslo"}
    assert (changed["label"], changed["confirmed"]) == ("red", True)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "label, columns or confirmed"),
    ({"label": "  "}, "label"),
    ({"label": 3}, "label"),
    ({"confirmed": "yes"}, "confirmed"),
    ({"colour": "red"}, "colour"),
    ({"label": "pink", "columns": {"price": "cheap"}}, "columns.price"),
    ({"label": "pink", "columns": {"price": [1, "x"]}}, "columns.price"),
    ({"label": "pink", "columns": {"sold": "yesterday"}}, "columns.sold"),
    ({"label": "pink", "columns": {"shop": {"name": "Oslo"}}}, "columns.shop"),
    ({"label": "pink", "columns": {"": 1}}, "columns"),
    ({"columns": {"price": [1, None]}}, "columns.price: give text of at most"),
    ({"columns": {"price": 2**60}}, "columns.price: give text of at most"),
    ({"columns": {"price": [1] * 1001, "shop": "a"}}, "columns.price: give text of at most"),
]


def test_a_wrong_field_is_named_and_nothing_changes(client: FlaskClient, address: str) -> None:
    before = client.get(address).get_json()
    for changes, named in WRONG:
        refused = patch(client, address, **changes)
        assert refused.status_code == 422 and named in refused.get_json()["detail"], changes
    assert client.get(address).get_json() == before


@pytest.mark.parametrize("coding", ["identity", "gzip", "br", "zstd"])
def test_the_tag_of_a_compressed_response_is_that_of_the_version(
    client: FlaskClient, address: str, coding: str
) -> None:
    seen = client.get(address, headers={"Accept-Encoding": coding})
    assert seen.headers.get("Content-Encoding", "identity") == coding
    tag = seen.headers["ETag"]
    assert patch(client, address, tag, label="pink").status_code == 200
    assert patch(client, address, tag, label="scarlet").status_code == 412
    now = client.get(address).headers["ETag"]
    assert patch(client, address, f"W/{now}", label="scarlet").status_code == 200, "as a proxy changes it"
    assert patch(client, address, "*", label="crimson").status_code == 200


def test_of_two_people_who_correct_a_photo_at_once_the_second_is_told(client: FlaskClient, address: str) -> None:
    seen = client.get(address).headers["ETag"]

    def correct(label: str) -> TestResponse:
        return patch(with_key(client.application.test_client()), address, seen, label=label)

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(correct, ["pink", "scarlet"]))
    first, second = sorted(results, key=lambda result: result.status_code)
    assert (first.status_code, second.status_code) == (200, 412)
    problem = second.get_json()
    assert problem["type"].endswith("#photo-changed")
    assert f"now its label is {first.get_json()['label']}, confirmed." in problem["detail"]
    assert client.get(address).get_json() == first.get_json()
    again = patch(client, address, seen, label=first.get_json()["label"])
    assert again.status_code == 200, "the same change, repeated since its response was lost"


def test_a_photo_that_is_gone_can_not_be_corrected(client: FlaskClient, address: str, own: Site) -> None:
    assert client.delete(address).status_code == 204
    for gone in (address, f"{IMAGES}/{uuid.uuid4()}"):
        refused = patch(client, gone, label="pink")
        assert refused.status_code == 404 and "There is no indexed photo" in refused.get_json()["detail"]
    assert not (own.settings.home / "corrections.jsonl").exists()


def test_correcting_needs_a_key_that_may_write(client: FlaskClient, address: str, own: Site) -> None:
    assert patch(own.client, address, label="pink").status_code == 401
    assert patch(with_key(client_of(own, read_only=True)), address, label="pink").status_code == 403
    assert client.get(address).get_json()["label"] == "red"


def save(client: FlaskClient, page: str, **fields: str) -> TestResponse:
    """Submit the form of the page of a photo with the version that it shows."""
    version = client.get(page).text.partition('name="version" value="')[2].partition('"')[0]
    return client.post(page, data={"version": version, **fields}, headers={"Accept": "text/html"})


def test_the_page_of_a_photo_saves_confirms_and_undoes(client: FlaskClient, address: str, own: Site) -> None:
    page = f"/photo/{address.rpartition('/')[2]}"
    assert 'class="correct"' not in own.client.get(page).text, "only with a key"
    assert 'class="correct"' not in with_key(client_of(own, local=True, read_only=True)).get(page).text
    assert '<option value="green">' in client.get(page).text
    assert save(client, page, label=" <b>rose</b> ").headers["Location"] == page
    shown = client.get(page).text
    assert "Labelled by <bdi>you</bdi>; before: <bdi>red</bdi>." in shown and 'value="&lt;b&gt;rose' in shown
    assert save(client, page, undo="1").status_code == 303
    assert (client.get(address).get_json()["label"], client.get(address).get_json()["confirmed"]) == ("red", False)
    save(client, page, label="red")
    assert "Confirmed by <bdi>you</bdi>." in client.get(page).text
    save(client, page, label="")
    assert client.get(address).get_json()["label"] is None
    assert save(client, page, label="x" * 501).status_code == 422
    conflict = client.post(page, data={"version": "old", "label": "pink"}, headers={"Accept": "text/html"})
    assert conflict.status_code == 412 and "it has no label now. Save again to replace it." in conflict.text
    assert 'name="label" value="pink"' in conflict.text
    assert own.client.post(page, data={"label": "pink"}, headers={"Accept": "text/html"}).status_code == 401
    assert save(client, f"/photo/{uuid.uuid4()}", label="pink").status_code == 404
