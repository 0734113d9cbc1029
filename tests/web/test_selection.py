"""`/images/zip` and `/images/export`: the files of selected photos, and what the index stores of them."""

import csv
import io
import json
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from serving import Site, client_of, with_key

from indexer.export.columns import LAST, OWN
from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.columns.where import BUILT_IN
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from web.photo_zip import ZippedPhoto, zip_photos
from web.services import EXTENSION
from web.zip_names import ZipNames

ZIP, EXPORT = "/api/v1/images/zip", "/api/v1/images/export"


def ids(photos: list[PhotoRef]) -> list[str]:
    return [str(photo.id) for photo in photos]


def unzipped(client: FlaskClient, wanted: list[str]) -> dict[str, bytes]:
    response = client.post(ZIP, json={"ids": wanted})
    assert (response.status_code, response.mimetype) == (200, "application/zip")
    assert response.headers["Content-Disposition"] == 'attachment; filename="photos.zip"'
    with zipfile.ZipFile(io.BytesIO(response.data)) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} <= {zipfile.ZIP_STORED}
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_archive_has_the_unchanged_files(client: FlaskClient, photos: list[PhotoRef]) -> None:
    found = unzipped(client, ids([*photos[:3], *photos[:2]]))
    assert list(found.values()) == [photo.path.read_bytes() for photo in photos[:3]]
    assert list(found) == [f"{photo.path.parent.name}/{photo.path.name}" for photo in photos[:3]] or list(found) == [
        photo.path.name for photo in photos[:3]
    ]


def test_missing_photos_are_listed_at_the_end(own: Site) -> None:
    gone, unknown = own.photos[1], str(uuid.uuid4())
    gone.path.unlink()
    found = unzipped(own.client, [unknown, *ids(own.photos[:3])])
    assert len(found) == 3 and list(found)[-1] == "MISSING.txt"
    lines = found["MISSING.txt"].decode().splitlines()
    assert lines[0] == unknown and lines[1].endswith(gone.path.name) and len(lines) == 2


def test_a_photo_that_disappears_while_the_archive_is_sent_is_listed(own: Site) -> None:
    files = own.app.extensions[EXTENSION].photo_files
    sent = zip_photos(files, [ZippedPhoto(photo.uri, photo.path.name, "t") for photo in own.photos[:3]])
    start = next(sent)
    assert own.photos[0].path.read_bytes() in start and own.photos[1].path.read_bytes() not in start
    own.photos[2].path.unlink()
    with zipfile.ZipFile(io.BytesIO(start + b"".join(sent))) as archive:
        assert archive.namelist()[-1] == "MISSING.txt"
        assert archive.read("MISSING.txt").decode() == f"{own.photos[2].path.name}\n"
        assert archive.comment == b"1 missing"


@pytest.mark.parametrize(
    ("settings", "count", "detail"),
    [
        ({}, 50_000, "50,000 photos are selected, and a ZIP archive may have 10,000."),
        ({"zip_photos": 2}, 3, "3 photos are selected, and a ZIP archive may have 2."),
    ],
)
def test_too_many_photos_are_refused_with_the_limit(
    shared: Site, settings: dict[str, Any], count: int, detail: str
) -> None:
    wanted = [*ids(shared.photos), *(str(uuid.UUID(int=at)) for at in range(count - len(shared.photos)))][:count]
    response = client_of(shared, **settings).post(ZIP, json={"ids": wanted})
    assert response.status_code == 422 and response.get_json()["detail"] == detail
    assert "LOOKALIKE_ZIP_PHOTOS" in response.get_json()["remedy"]


def test_photos_that_are_too_large_together_are_refused_with_the_limit(own: Site) -> None:
    index, photo = own.searcher.index, own.photos[0].id
    index.replace_payloads({photo: replace(index.get([photo])[photo], bytes=5_000_000_000)})
    response = own.client.post(ZIP, json={"ids": ids(own.photos[:2])})
    assert response.status_code == 422
    assert response.get_json()["detail"] == "The selected photos have 5,000 MB, and a ZIP archive may have 4,000 MB."


def test_photos_outside_the_library_are_not_in_the_archive(own: Site, tmp_path: Path) -> None:
    client = client_of(own, library_roots=(str(tmp_path / "elsewhere"),))
    assert list(unzipped(client, ids(own.photos[:2]))) == ["MISSING.txt"]


def test_few_archives_are_sent_at_once(own: Site) -> None:
    zips = own.app.extensions[EXTENSION].zips
    while zips.acquire(blocking=False):
        pass
    body = {"ids": ids(own.photos[:1])}
    assert own.client.post(ZIP, json=body).status_code == 503
    zips.release()
    for _ in range(3):
        assert own.client.post(ZIP, json=body).data
    assert zips.acquire(blocking=False) and not zips.acquire(blocking=False)


@pytest.mark.parametrize("address", [ZIP, EXPORT])
@pytest.mark.parametrize(
    ("body", "status"),
    [({"ids": []}, 422), ({"ids": ["7"]}, 422), ({}, 422), ({"ids": [str(uuid.UUID(int=0))]}, 404)],
)
def test_a_wrong_selection_is_refused(client: FlaskClient, address: str, body: Any, status: int) -> None:
    assert client.post(address, json=body).status_code == status


def test_a_selection_needs_the_scope_that_photos_need(shared: Site) -> None:
    client = client_of(shared, api_keys=(SecretStr("shop:read:sesame"),), reads_need_key=True)
    for address in (ZIP, EXPORT):
        assert client.post(address, json={"ids": ids(shared.photos[:1])}).status_code == 401
        headers = {"Authorization": "Bearer sesame"}
        assert client.post(address, json={"ids": ids(shared.photos[:1])}, headers=headers).status_code == 200


def test_a_table_is_csv_or_json(own: Site) -> None:
    index, photo = own.searcher.index, own.photos[0].id
    old = index.get([photo])[photo]
    columns = {"taken": "2024-05-31T12:00:00+00:00", "camera": "X-T5", "place": {"lat": 48.1, "lon": 11.6}}
    extra = {"price": "2.50", "note": "a, b", "camera": "none"}
    index.replace_payloads({photo: replace(old, extra=extra, columns=columns)})
    save_schema(index, ColumnSchema(kinds={"price": "number", "note": "text", "camera": "text"}))
    body = {"ids": [*ids(own.photos[:2]), str(uuid.uuid4())], "format": "json"}
    answer = own.client.post(EXPORT, json=body)
    assert answer.headers["Missing-Photos"] == "1" and answer.mimetype == "application/json"
    rows = answer.get_json()
    assert [row["id"] for row in rows] == ids(own.photos[:2])
    wanted = {"uri": old.uri, "label": old.label, "price": 2.5, "note": "a, b", "camera": "X-T5"}
    wanted |= {"columns.camera": "none", "taken": "2024-05-31T12:00:00+00:00", "place": "48.1,11.6"}
    assert wanted.items() <= rows[0].items() and rows[0]["path"].endswith(own.photos[0].path.name)
    table = own.client.post(EXPORT, json=body | {"format": "csv"})
    assert table.mimetype == "text/csv"
    cells = list(csv.DictReader(io.StringIO(table.get_data(as_text=True), newline="")))
    assert [{name: value or None for name, value in row.items()} for row in cells] == [
        {name: None if value is None else str(value) for name, value in row.items()} for row in rows
    ]


def test_a_table_has_lists_and_columns_with_the_names_of_others(own: Site) -> None:
    names = ["path", *OWN, *LAST, *BUILT_IN]
    extra = {"sizes": [36, 37.5], "sold": [True, False], **dict.fromkeys(names, "theirs")}
    photo = ids(own.photos)[0]
    client = with_key(client_of(own, local=True))
    changed = client.patch(f"/api/v1/images/{photo}", json={"columns": extra})
    assert changed.status_code == 200, changed.get_json()
    (row,) = own.client.post(EXPORT, json={"ids": [photo], "format": "json"}).get_json()
    assert (row["sizes"], row["sold"]) == ([36, 37.5], [True, False])
    assert {row[f"columns.{name}"] for name in names} == {"theirs"}
    assert (row["id"], row["label"]) == (photo, own.photos[0].label) and row["path"].endswith(own.photos[0].path.name)
    table = own.client.post(EXPORT, json={"ids": [photo], "format": "csv"}).get_data(as_text=True)
    (cells,) = csv.DictReader(io.StringIO(table, newline=""))
    assert json.loads(cells["sizes"]) == [36, 37.5] and json.loads(cells["sold"]) == [True, False]
    assert cells.keys() == row.keys()


def test_a_csv_table_has_no_formulas_and_is_read_back_as_a_manifest(own: Site, tmp_path: Path) -> None:
    photo = ids(own.photos)[0]
    label, extra = '=HYPERLINK("https://example.org")', {"phone": "+49 170 1", "=name": "@shop", "delta": "-2.5"}
    client = with_key(client_of(own, local=True))
    changed = client.patch(f"/api/v1/images/{photo}", json={"label": label, "columns": extra})
    assert changed.status_code == 200, changed.get_json()
    table = own.client.post(EXPORT, json={"ids": [photo], "format": "csv"}).data
    (cells,) = csv.DictReader(io.StringIO(table.decode(), newline=""))
    assert (cells["label"], cells["phone"], cells["'=name"]) == (f"'{label}", "'+49 170 1", "'@shop")
    assert cells["delta"] == "-2.5", "a number is no formula"
    (tmp_path / "photos.csv").write_bytes(table)
    (read,) = list_photos(tmp_path / "photos.csv")
    assert read.label == label and extra.items() <= read.extra.items()
    (row,) = own.client.post(EXPORT, json={"ids": [photo], "format": "json"}).get_json()
    assert (row["label"], row["phone"], row["=name"]) == (label, "+49 170 1", "@shop")


def test_a_table_hides_what_the_key_may_not_see(own: Site) -> None:
    index, photo = own.searcher.index, own.photos[0].id
    old = index.get([photo])[photo]
    columns = {"place": {"lat": 48.1, "lon": 11.6}}
    index.replace_payloads({photo: replace(old, extra={"buyer": "Ann", "shop": "a"}, columns=columns)})
    client = client_of(own, api_keys=(SecretStr("me:write:sesame"),), hidden_columns=("buyer", "place"))
    body = {"ids": [str(photo)], "format": "json"}
    (row,) = client.post(EXPORT, json=body).get_json()
    assert row["uri"] is None and row["shop"] == "a" and not row.keys() & {"buyer", "place", "payload"}
    assert "Ann" not in json.dumps(row) and str(own.photos[0].path.parent) not in json.dumps(row)
    (row,) = client.post(EXPORT, json=body, headers={"Authorization": "Bearer sesame"}).get_json()
    assert (row["uri"], row["buyer"], row["place"]) == (old.uri, "Ann", "48.1,11.6")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("rose/1.jpg", "rose/1.jpg"),
        ("../../etc/x.jpg", "etc/x.jpg"),
        ("/a//b.jpg", "a/b.jpg"),
        ("C:\\pictures\\a.jpg", "C_/pictures/a.jpg"),
        ("con.jpg", "_con.jpg"),
        ("a?.jpg. ", "a_.jpg"),
        ("", "photo"),
        ("..", "photo"),
        ("x" * 300 + ".jpeg", "x" * 145 + ".jpeg"),
    ],
)
def test_names_in_an_archive_are_safe(path: str, name: str) -> None:
    assert ZipNames().of(path) == name


def test_names_in_an_archive_are_unique() -> None:
    names = ZipNames(["MISSING.txt"])
    paths = ["a/1.jpg", "a/1.jpg", "A/1.JPG", "a/1 (2).jpg", "a/1.jpg", "missing.txt", "b", "b"]
    found = [names.of(path) for path in paths]
    assert found == [
        "a/1.jpg",
        "a/1 (2).jpg",
        "A/1 (3).JPG",
        "a/1 (2) (2).jpg",
        "a/1 (4).jpg",
        "missing (2).txt",
        "b",
        "b (2)",
    ]
