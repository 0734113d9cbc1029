"""`/queues`: photos to review."""

import uuid

import pytest
from flask.testing import FlaskClient
from serving import Site, with_key

from indexer.review.queues import Queued, QueueName, save_queues
from retrieval.photo_ref import PhotoRef

MISLABELLED = {"suggested": "green", "share": 0.9, "rival": "red", "rival_share": 0.1, "confidence": 0.95}


@pytest.fixture
def queued(own: Site) -> list[PhotoRef]:
    """Three red photos in the queue of mislabelled photos, and two in that of duplicates of the first."""
    red = [photo for photo in own.photos if photo.label == "red"]
    photos: dict[QueueName, list[Queued]] = {
        "mislabelled": [Queued(photo.id, "red", **MISLABELLED) for photo in red[:3]],
        "unlabelled": [],
        "informative": [],
        "duplicates": [Queued(photo.id, "red", duplicate_of=red[0].id, score=0.99) for photo in red[1:3]],
    }
    save_queues(own.settings, own.searcher.index.model, 20, photos)
    return red


def ids(client: FlaskClient, name: str, **query: int) -> list[str]:
    response = client.get(f"/api/v1/queues/{name}", query_string=query)
    assert response.status_code == 200
    return [one["photo"]["id"] for one in response.get_json()["photos"]]


def test_a_queue_has_photos_with_suggestions_and_reasons(own: Site, queued: list[PhotoRef]) -> None:
    found = own.client.get("/api/v1/queues").get_json()
    assert {one["name"]: one["total"] for one in found["queues"]} == {
        "mislabelled": 3,
        "unlabelled": 0,
        "informative": 0,
        "duplicates": 2,
    }
    assert found["changed"] == 4
    page = own.client.get("/api/v1/queues/mislabelled?limit=1&offset=1").get_json()
    assert page["total"] == 3
    (one,) = page["photos"]
    assert (one["photo"]["id"], one["photo"]["label"], one["photo"]["path"]) == (str(queued[1].id), "red", "1.jpg")
    assert (one["suggested"], one["confidence"], one["margin"], one["duplicate_of"]) == ("green", 0.95, 0.8, None)
    assert one["reason"] == "90% of the votes of the nearest photos are for green, 10% for red."
    (one, _) = own.client.get("/api/v1/queues/duplicates").get_json()["photos"]
    assert one["duplicate_of"] == str(queued[0].id) and one["suggested"] is None


def test_a_photo_leaves_its_queue_when_it_is_dealt_with(own: Site, queued: list[PhotoRef]) -> None:
    client = with_key(own.client)
    first, second, third = (str(photo.id) for photo in queued[:3])
    assert client.patch(f"/api/v1/images/{first}", json={"label": "green"}).status_code == 200
    assert ids(client, "mislabelled") == [second, third]
    assert client.patch(f"/api/v1/images/{second}", json={"confirmed": True}).status_code == 200
    assert ids(client, "mislabelled") == [third]
    keep = f"/api/v1/queues/duplicates/{second}/keep"
    assert client.post(keep).status_code == 204
    assert ids(client, "duplicates") == [third]
    assert client.delete(keep).status_code == 204
    assert ids(client, "duplicates") == [second, third]
    assert client.delete(f"/api/v1/images/{third}").status_code == 204
    assert (ids(client, "duplicates"), ids(client, "mislabelled")) == ([second], [])


def test_what_is_missing_is_said(own: Site) -> None:
    for path in ("queues", "queues/duplicates"):
        missing = own.client.get(f"/api/v1/{path}")
        assert missing.status_code == 404 and "review" in missing.get_json()["remedy"]
    unknown = own.client.get("/api/v1/queues/others")
    assert unknown.status_code == 404 and "mislabelled" in unknown.get_json()["remedy"]
    assert with_key(own.client).post(f"/api/v1/queues/duplicates/{uuid.UUID(int=1)}/keep").status_code == 404
    assert own.client.post(f"/api/v1/queues/duplicates/{uuid.UUID(int=1)}/keep").status_code == 401
