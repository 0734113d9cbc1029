"""`POST /api/v1/explain`: why a photo was found."""

import io
import uuid
from pathlib import Path
from typing import Any

import make
import pytest
from flask.testing import FlaskClient
from serving import Site, site
from werkzeug.test import TestResponse

from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

EXPLAIN = "/api/v1/explain"


def upload(client: FlaskClient, data: bytes, **fields: Any) -> TestResponse:
    return client.post(EXPLAIN, data={"image": (io.BytesIO(data), "photo.jpg"), **fields})


def total(heat_map: dict[str, Any]) -> float:
    assert [len(row) for row in heat_map["contributions"]] == [4, 4, 4, 4]
    return sum(map(sum, heat_map["contributions"]))


def test_the_score_is_that_of_the_search_and_its_parts_add_up(shared: Site, photos: list[PhotoRef]) -> None:
    query = str(photos[0].id)
    found = shared.client.post("/api/v1/search", json={"id": query}).get_json()["results"][3]
    answer = shared.client.post(EXPLAIN, json={"id": query, "result": found["id"]}).get_json()
    assert answer["model"] == shared.searcher.embedder.bundle.model_id
    for part in (answer["score"], total(answer["query"]), total(answer["result"])):
        assert part == pytest.approx(found["score"], abs=1e-4)
    assert answer["result"]["seen"] == {"x": 0.125, "y": 0, "width": 0.75, "height": 1}


def test_an_upload_is_explained_as_the_same_photo_indexed(client: FlaskClient, photos: list[PhotoRef]) -> None:
    result, box = str(photos[9].id), {"x": 0.5, "y": 0, "width": 0.5, "height": 1}
    uploaded = upload(client, photos[0].path.read_bytes(), result=result, crop="0.5,0,0.5,1")
    indexed = client.post(EXPLAIN, json={"id": str(photos[0].id), "result": result, "crop": box})
    whole = client.post(EXPLAIN, json={"id": str(photos[0].id), "result": result})
    assert uploaded.status_code == 200, uploaded.text
    assert uploaded.get_json() == indexed.get_json() != whole.get_json()
    seen = uploaded.get_json()["query"]["seen"]
    assert seen["x"] >= 0.5 and seen["x"] + seen["width"] <= 1


def test_what_can_not_be_explained_is_a_problem(client: FlaskClient, photos: list[PhotoRef]) -> None:
    known, unknown = str(photos[0].id), str(uuid.uuid4())
    problems = {
        404: client.post(EXPLAIN, json={"id": known, "result": unknown}),
        422: client.post(EXPLAIN, json={"id": known, "result": known, "k": 3}),
        400: client.post(EXPLAIN, data="{", content_type="application/json"),
        415: client.post(EXPLAIN, data="photo", content_type="text/plain"),
    }
    for status, answer in problems.items():
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    for wrong in ({"result": known, "crop": "0.8,0,0.5,1"}, {}):
        assert upload(client, photos[0].path.read_bytes(), **wrong).status_code == 422
    assert upload(client, b"no photo", result=known).status_code == 422


def test_a_model_that_does_not_know_answers_404_and_is_not_asked(
    settings: Settings, library: Path, tmp_path: Path
) -> None:
    with site(settings, make.bundle(tmp_path / "old", regions=False), library) as old:
        photo = str(old.photos[0].id)
        answer = old.client.post(EXPLAIN, json={"id": photo, "result": photo})
        page = old.client.get(f"/?id={photo}").text
    assert answer.status_code == 404
    assert "can't explain which regions" in answer.get_json()["detail"]
    assert "data-explain" not in page  # so that the page offers nothing


def test_the_page_asks_below_its_prefix(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}", environ_overrides={"SCRIPT_NAME": "/photos"}).text
    assert 'data-explain="/photos/api/v1/explain"' in page


def test_the_damaged_photo_is_named(client: FlaskClient, photos: list[PhotoRef]) -> None:
    broken = make.encoded(make.photo())[:900]
    answer = upload(client, broken, result=str(photos[0].id))
    assert answer.status_code == 422
    assert answer.get_json()["detail"].startswith("The photo of the query can't be used. ")
