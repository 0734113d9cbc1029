"""Several searches or photos in one request: `{"queries": […]}` and `POST /api/v1/embeddings`."""

import base64
import io
import uuid
from typing import Any

import make
import numpy as np
import pytest
from flask.testing import FlaskClient
from serving import Site, client_of

from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher

SEARCH, EMBEDDINGS = "/api/v1/search", "/api/v1/embeddings"
NO_PHOTO = b"<html></html>"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "took_ms"}


def test_a_batch_answers_each_query_as_it_is_answered_alone(
    client: FlaskClient, photos: list[PhotoRef], searcher: Searcher
) -> None:
    vector = searcher.index.vectors([photos[7].id])[photos[7].id].tolist()
    queries = [
        {"id": str(photos[0].id), "k": 3},
        {"image_base64": encoded(photos[5].path.read_bytes()), "label": ["red"]},
        {"vector": vector, "offset": 2},
        {"positive": [str(photos[1].id)], "negative": [str(photos[2].id)]},
    ]
    batch = client.post(SEARCH, json={"queries": queries}).get_json()["answers"]
    alone = [client.post(SEARCH, json=query).get_json() for query in queries]
    assert list(map(without_times, batch)) == list(map(without_times, alone))


def test_an_unanswerable_query_has_a_problem_and_the_others_their_results(
    client: FlaskClient, photos: list[PhotoRef]
) -> None:
    unknown = str(uuid.uuid4())
    answerable = {"id": str(photos[0].id), "k": 1}
    unanswerable = [{"id": unknown}, {"image_base64": encoded(NO_PHOTO)}, {"vector": [1.0]}]
    response = client.post(SEARCH, json={"queries": [*unanswerable, answerable]})
    *failed, found = response.get_json()["answers"]
    assert response.status_code == 200 and len(found["results"]) == 1
    assert [answer["error"]["status"] for answer in failed] == [404, 422, 422]
    same = client.post(SEARCH, json={"id": unknown}).get_json()
    assert failed[0]["error"] == same | {"request_id": failed[0]["error"]["request_id"]}
    assert failed[1]["error"]["type"].endswith("#unreadable-photo")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"queries": []}, "queries"),
        ({"queries": [{"vector": [1.0]}] * 101}, "queries"),
        ({"queries": [{"vector": [1.0]}, {"vector": [1.0], "k": 0}]}, "queries.1.vector.k"),
        ({"queries": [{}]}, "queries.0"),
        ({"queries": [{"queries": []}]}, "queries.0"),
        ({"queries": [{"vector": [1.0]}], "k": 3}, "queries.k"),
        ({"queries": [{"vector": [1.0]}], "vector": [1.0]}, ""),
    ],
)
def test_a_wrong_field_refuses_the_whole_batch(client: FlaskClient, body: Any, field: str) -> None:
    response = client.post(SEARCH, json=body)
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]


def test_embeddings_are_those_of_the_index(client: FlaskClient, photos: list[PhotoRef], searcher: Searcher) -> None:
    chosen = [photo.path.read_bytes() for photo in photos[:3]]
    files = {"image": [(io.BytesIO(data), "photo.jpg") for data in chosen]}
    answer = client.post(EMBEDDINGS, data=files).get_json()
    stored = searcher.index.vectors([photo.id for photo in photos[:3]])
    assert np.allclose(answer["embeddings"], [stored[photo.id] for photo in photos[:3]], atol=1e-6)
    assert answer["model"] == searcher.embedder.bundle.model_id
    assert answer["parts"] == [{"name": "kind", "length": searcher.index.dimension, "weight": 1.0}]
    assert client.post(EMBEDDINGS, json={"image_base64": list(map(encoded, chosen))}).get_json() == answer
    one = client.post(EMBEDDINGS, data={"image": (io.BytesIO(chosen[0]), "photo.jpg")}).get_json()
    assert one["embeddings"] == answer["embeddings"][:1]


def test_a_photo_that_can_not_be_embedded_is_named_by_its_place(client: FlaskClient) -> None:
    good = encoded(make.encoded(make.photo()))
    response = client.post(EMBEDDINGS, json={"image_base64": [good, encoded(NO_PHOTO)]})
    assert response.status_code == 422 and response.get_json()["type"].endswith("#unreadable-photo")
    assert response.get_json()["detail"].startswith("Photo 2 of 2 can't be used. It is an HTML page")
    alone = client.post(EMBEDDINGS, json={"image_base64": [encoded(NO_PHOTO)]})
    assert alone.get_json()["detail"].startswith("It is an HTML page")


@pytest.mark.parametrize("body", [{}, {"image_base64": []}, {"image_base64": ["QQ=="] * 101}, {"image_base64": "QQ=="}])
def test_embeddings_of_none_or_too_many_are_refused(client: FlaskClient, body: Any) -> None:
    response = client.post(EMBEDDINGS, json=body)
    assert response.status_code == 422 and response.get_json()["errors"][0]["field"] == "image_base64"


def test_a_request_that_is_too_large_is_refused(client: FlaskClient) -> None:
    assert client.post(EMBEDDINGS, data={"image": (io.BytesIO(b"\xff" * 20_000_001), "photo.jpg")}).status_code == 413


def test_embeddings_need_the_scope_that_searches_need(shared: Site) -> None:
    client = client_of(shared, reads_need_key=True)
    body = {"image_base64": [encoded(make.encoded(make.photo()))]}
    assert client.post(EMBEDDINGS, json=body).status_code == 401
    (key, *_) = client.application.extensions["lookalike"].keys
    assert client.post(EMBEDDINGS, json=body, headers={"Authorization": f"Bearer {key.secret}"}).status_code == 200
