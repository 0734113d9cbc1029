"""`POST /api/v1/search` and `GET /api/v1/images/{id}/similar`."""

import base64
import io
import json
import uuid
from typing import Any

import make
import pytest
from flask.testing import FlaskClient
from pydantic import ValidationError
from werkzeug.test import TestResponse

from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher
from web.schemas.queries import QueryOrQueries, UploadedPhoto

SEARCH = "/api/v1/search"


def upload(client: FlaskClient, data: bytes, **fields: Any) -> TestResponse:
    return client.post(SEARCH, data={"image": (io.BytesIO(data), "photo.jpg"), **fields})


def ids(response: TestResponse) -> list[str]:
    assert response.status_code == 200, response.text
    return [result["id"] for result in response.get_json()["results"]]


def test_an_uploaded_photo_finds_itself_first(client: FlaskClient, photos: list[PhotoRef], searcher: Searcher) -> None:
    photo = photos[3]
    answer = upload(client, photo.path.read_bytes(), k=4).get_json()
    assert answer["model"] == searcher.embedder.bundle.model_id
    assert set(answer["took_ms"]) == {"decode", "embed", "search"}
    assert all(took > 0 for took in answer["took_ms"].values())
    assert answer["predicted_label"]["label"] == photo.label
    assert answer["predicted_label"]["votes"] <= answer["predicted_label"]["of"] == 10
    assert answer["predicted_label"]["source"] == "neighbours"
    assert answer["in_collection"] == str(photo.id), "by its content hash"
    assert answer["bands"] is None, "the scores are not calibrated"
    assert answer["look"] is None
    assert len(answer["results"]) == 4
    assert answer["results"][0] == {
        "id": str(photo.id),
        "uri": photo.uri,
        "path": photo.path.name,
        "label": photo.label,
        "width": 120,
        "height": 90,
        "score": 1.0,
        "distance": 0.0,
        "scores": None,
        "duplicate_of": None,
        "extra": {},
        "more": None,
        "image_url": f"/api/v1/images/{photo.id}/file",
        "thumbnail_url": f"/api/v1/images/{photo.id}/thumbnail",
    }


def test_base64_in_json_finds_the_same(client: FlaskClient, photos: list[PhotoRef]) -> None:
    data = photos[5].path.read_bytes()
    encoded = client.post(SEARCH, json={"image_base64": base64.b64encode(data).decode()})
    assert ids(encoded) == ids(upload(client, data))


def test_a_vector_finds_what_its_photo_finds(client: FlaskClient, photos: list[PhotoRef], searcher: Searcher) -> None:
    vector = searcher.index.vectors([photos[7].id])[photos[7].id]
    assert ids(client.post(SEARCH, json={"vector": vector.tolist()}))[0] == str(photos[7].id)


def test_a_search_from_an_indexed_photo_leaves_it_out(client: FlaskClient, photos: list[PhotoRef]) -> None:
    photo = str(photos[0].id)
    by_id = ids(client.post(SEARCH, json={"id": photo, "k": 100}))
    assert len(by_id) == len(photos) - 1 and photo not in by_id
    assert ids(client.get(f"/api/v1/images/{photo}/similar?k=100")) == by_id


def test_examples_pull_and_push(client: FlaskClient, photos: list[PhotoRef]) -> None:
    red, green = (photo for photo in photos if photo.path.name == "0.jpg" and photo.label in ("red", "green"))
    pulled = ids(client.post(SEARCH, json={"positive": [str(red.id)], "k": 100}))
    pushed = ids(client.post(SEARCH, json={"positive": [str(red.id)], "negative": [str(green.id)], "k": 100}))
    assert set(pushed) == set(pulled) - {str(green.id)}
    like_the_negative = ids(client.post(SEARCH, json={"id": str(green.id), "k": 3}))
    assert sum(map(pushed.index, like_the_negative)) > sum(map(pulled.index, like_the_negative))


def test_pages_continue_each_other(client: FlaskClient, photos: list[PhotoRef]) -> None:
    everything = ids(client.post(SEARCH, json={"id": str(photos[0].id), "k": 10}))
    pages = [ids(client.post(SEARCH, json={"id": str(photos[0].id), "k": 5, "offset": at})) for at in (0, 5)]
    assert pages[0] + pages[1] == everything


@pytest.mark.parametrize("labels", [["red"], ["red", "blue"]])
def test_labels_may_be_repeated(client: FlaskClient, photos: list[PhotoRef], labels: list[str]) -> None:
    answers = (
        upload(client, photos[0].path.read_bytes(), label=labels, k=100),
        client.post(SEARCH, json={"vector": [1.0] * 16, "label": labels, "k": 100}),
    )
    for answer in answers:
        assert {result["label"] for result in answer.get_json()["results"]} == set(labels)
    similar = client.get(f"/api/v1/images/{photos[0].id}/similar", query_string={"label": labels, "k": 100})
    assert {result["label"] for result in similar.get_json()["results"]} == set(labels)


def test_no_result_is_below_the_minimum_score(client: FlaskClient, photos: list[PhotoRef]) -> None:
    everything = client.get(f"/api/v1/images/{photos[0].id}/similar?k=100&exact=true").get_json()["results"]
    limit = everything[6]["score"] - 1e-6  # scores are rounded
    close = client.get(f"/api/v1/images/{photos[0].id}/similar?k=100&min_score={limit}").get_json()["results"]
    assert close == [result for result in everything if result["score"] >= limit] and 7 <= len(close) < len(everything)


def test_a_crop_searches_a_part(client: FlaskClient) -> None:
    left, right = make.photo("red", 1, (90, 90)), make.photo("blue", 2, (90, 90))
    both = left.resize((180, 90))
    both.paste(right, (90, 0))
    both.paste(left, (0, 0))
    data = make.encoded(both, "PNG")
    box = {"x": 0.5, "y": 0, "width": 0.5, "height": 1}
    as_text = upload(client, data, crop="0.5,0,0.5,1").get_json()
    as_json = client.post(SEARCH, json={"image_base64": base64.b64encode(data).decode(), "crop": box}).get_json()
    alone = upload(client, make.encoded(right, "PNG")).get_json()
    assert as_text["results"] == as_json["results"] == alone["results"]
    assert upload(client, data, crop="0,0,1,1").get_json()["results"] == upload(client, data).get_json()["results"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"k": "0"}, "k: "),
        ({"k": "1000000000"}, "k: "),
        ({"k": "abc"}, "k: "),
        ({"offset": "-1"}, "offset: "),
        ({"min_score": "nan"}, "min_score: "),
        ({"exact": "perhaps"}, "exact: "),
        ({"label": ""}, "label.0: "),
        ({"crop": "0,0,1"}, "crop: Give four fractions"),
        ({"crop": "0.5,0,1,1"}, "The crop must be within the photo"),
        ({"crop": "0,0,0,0"}, "The crop must be within the photo"),
        ({"image_url": "http://127.0.0.1/a.jpg"}, "image_url: "),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, fields: dict[str, str], names: str) -> None:
    response = upload(client, make.encoded(make.photo()), **fields)
    assert response.status_code == 422
    assert response.get_json()["detail"].startswith(names)
    assert response.get_json()["remedy"]


def test_a_crop_of_an_indexed_photo_searches_that_part_and_leaves_the_photo_out(
    client: FlaskClient, photos: list[PhotoRef]
) -> None:
    photo, box = photos[0], {"x": 0.25, "y": 0, "width": 0.5, "height": 0.5}
    answer = client.post(SEARCH, json={"id": str(photo.id), "crop": box, "k": 5}).get_json()
    sent = upload(client, photo.path.read_bytes(), crop="0.25,0,0.5,0.5", k=6).get_json()
    others = [result for result in sent["results"] if result["id"] != str(photo.id)]
    assert answer["results"] == others[:5]
    assert answer["took_ms"]["embed"] > 0
    whole = client.post(SEARCH, json={"id": str(photo.id), "crop": {}, "k": 5}).get_json()
    assert whole["took_ms"]["embed"] == 0


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 422, "exactly one of image_base64, id, vector, positive"),
        ({"id": str(uuid.uuid4()), "vector": [1.0]}, 422, "exactly one of"),
        ({"id": None}, 422, "id"),
        ({"id": "7"}, 422, "id"),
        ({"id": str(uuid.uuid4()), "k": "5"}, 422, "k"),
        ({"vector": [1.0] * 16, "crop": {}}, 422, "crop"),
        ({"id": str(uuid.uuid4()), "crop": {"width": 0.5}}, 404, "There is no indexed photo"),
        ({"id": str(uuid.uuid4()), "crop": {"width": 2}}, 422, "crop"),
        ({"id": str(uuid.uuid4())}, 404, "There is no indexed photo"),
        ({"positive": [str(uuid.uuid4())]}, 404, "There is no indexed photo"),
        ({"positive": []}, 422, "positive"),
        ({"negative": [str(uuid.uuid4())]}, 422, "exactly one of"),
        ({"vector": [1.0]}, 422, "holds vectors of 16 numbers"),
        ({"vector": [0.0] * 16}, 422, "not all of them zero"),
        ({"vector": [1e300] * 16}, 422, "vector.0"),
        ({"vector": [1.0] * 16, "label": ["violet"]}, 404, "has the label violet"),
        ({"vector": [1.0] * 16, "label": ["red", "violet"]}, 404, "has the label violet"),
        ({"image_base64": "http://127.0.0.1/a.jpg"}, 422, "image_base64"),
        ({"image_base64": ""}, 422, "empty"),
        ([1], 422, "exactly one of"),
    ],
)
def test_a_wrong_json_search_is_explained(client: FlaskClient, body: Any, status: int, says: str) -> None:
    response = client.post(SEARCH, json=body)
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    assert says in response.get_json()["detail"]


def test_a_body_that_is_no_json_is_a_bad_request(client: FlaskClient) -> None:
    response = client.post(SEARCH, data=b"{", content_type="application/json")
    assert response.status_code == 400 and "JSON" in response.get_json()["detail"]


def test_another_media_type_is_refused(client: FlaskClient) -> None:
    response = client.post(SEARCH, data=b"k=1", content_type="text/plain")
    assert response.status_code == 415 and "multipart/form-data" in response.get_json()["detail"]


def test_a_search_without_a_photo_says_so(client: FlaskClient) -> None:
    response = client.post(SEARCH, data={"k": "3"}, content_type="multipart/form-data")
    assert response.status_code == 422 and response.get_json()["errors"][0]["field"] == "image"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"<html><script>alert(1)</script></html>", "It is an HTML page, not a photo of a known format"),
        (b"%PDF-1.7", "It is a PDF file, not a photo of a known format"),
        (make.encoded(make.photo())[:900], "damaged or incomplete"),
        (b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 64, "It is a video, not a photo of a known format"),
    ],
)
def test_an_unreadable_photo_is_refused_with_the_reason(client: FlaskClient, data: bytes, says: str) -> None:
    response = upload(client, data)
    assert response.status_code == 422 and says in response.get_json()["detail"]


def test_an_upload_over_the_limit_is_refused(client: FlaskClient) -> None:
    response = upload(client, b"\xff" * 20_000_001)
    assert response.status_code == 413
    assert response.get_json()["detail"] == "The upload is larger than 20 MB."
    assert "LOOKALIKE_MAX_UPLOAD_MB" in response.get_json()["remedy"]


def test_a_long_text_is_called_what_it_is(client: FlaskClient) -> None:
    response = upload(client, make.encoded(make.photo()), label="x" * 700_000)
    assert response.status_code == 422 and response.get_json()["errors"][0]["field"] == "label.0"
    response = upload(client, make.encoded(make.photo()), label=["x"] * 1100)
    assert response.status_code == 413 and "more than 1000 parts" in response.get_json()["detail"]


@pytest.mark.parametrize("query", [{"id": str(uuid.UUID(int=1))}, {"text": "red"}, {"terms": [{"text": "red"}]}])
def test_each_query_in_json_has_a_filter_that_is_an_object_or_null(query: dict[str, object]) -> None:
    for where in (None, {"label": "red"}):
        parsed = QueryOrQueries.model_validate_json(json.dumps(query | {"where": where}), strict=True)
        assert parsed.root.where == where
    with pytest.raises(ValidationError):
        QueryOrQueries.model_validate_json(json.dumps(query | {"where": '{"label": "red"}'}), strict=True)


def test_a_filter_in_a_form_may_be_missing_but_not_too_long() -> None:
    assert UploadedPhoto(image=b"photo", where=None).where is None
    with pytest.raises(ValidationError, match="at most 100000"):
        UploadedPhoto(image=b"photo", where="x" * 100_001)
