"""Searches with a weight for the part look: API and page."""

import io
from collections.abc import Iterator
from dataclasses import replace

import make
import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from serving import Site, site

from retrieval.analysis.calibration import calibration_data, pairs_of
from retrieval.bundle_format import CalibrationData
from retrieval.index import Point
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

SEARCH = "/api/v1/search"


@pytest.fixture(scope="module")
def two_parts(tmp_path_factory: pytest.TempPathFactory, library) -> Iterator[Site]:
    bundle = make.bundle(tmp_path_factory.mktemp("two-parts") / "bundle", look=6)
    settings = Settings(home=tmp_path_factory.mktemp("home"), embedding_threads=1)
    with site(settings, bundle, library) as built:
        built.searcher.index.save_calibration(_calibration(built))
        yield built


def _calibration(built: Site) -> CalibrationData:
    """The calibration of the indexed photos, and of copies with slightly different embeddings."""
    parts, index = built.searcher.parts, built.searcher.index
    vectors = np.stack([index.vectors([photo.id])[photo.id] for photo in built.photos])
    noise = np.random.default_rng(0).normal(scale=0.002, size=vectors.shape).astype(np.float32)
    labels = np.array([photo.label for photo in built.photos])
    data = calibration_data(vectors, labels, parts, pairs_of(vectors, parts.weighted(vectors + noise, None), parts))
    assert data is not None
    return data


@pytest.fixture
def client(two_parts: Site) -> FlaskClient:
    return two_parts.client


@pytest.mark.parametrize("look", [None, 0, 0.25, 0.75, 1])
def test_a_score_is_the_weighted_sum_of_the_scores_of_the_parts(two_parts: Site, client: FlaskClient, look) -> None:
    query = two_parts.photos[4].id
    sent = {"id": str(query), "k": 20} | ({} if look is None else {"look": look})
    answer = client.post(SEARCH, json=sent).get_json()
    weight = 0.5 if look is None else look
    assert answer["look"] == weight
    for found in answer["results"]:
        scores = found["scores"]
        assert found["score"] == pytest.approx((1 - weight) * scores["kind"] + weight * scores["look"], abs=1e-5)
        assert found["distance"] == pytest.approx(np.sqrt(2 - 2 * found["score"]), abs=1e-4)
    vectors = two_parts.searcher.index.vectors([photo.id for photo in two_parts.photos])
    part = {0: slice(0, 10), 1: slice(10, 16)}.get(look)
    if part is not None:  # then the order is that of one part alone
        exact = {str(photo): 2 * float(vector[part] @ vectors[query][part]) for photo, vector in vectors.items()}
        expected = sorted((photo for photo in exact if photo != str(query)), key=lambda photo: -exact[photo])[:20]
        assert [found["id"] for found in answer["results"]] == expected


def test_similar_photos_and_examples_have_a_weight_too(two_parts: Site, client: FlaskClient) -> None:
    first, second = (str(photo.id) for photo in two_parts.photos[:2])
    by_id = client.post(SEARCH, json={"id": first, "look": 1}).get_json()
    similar = client.get(f"/api/v1/images/{first}/similar?look=1").get_json()
    assert [found["id"] for found in similar["results"]] == [found["id"] for found in by_id["results"]]
    examples = client.post(SEARCH, json={"positive": [first, second], "look": 0.25}).get_json()
    assert examples["look"] == 0.25


def test_the_predicted_label_is_that_of_the_kind(two_parts: Site, client: FlaskClient) -> None:
    photo = str(two_parts.photos[3].id)
    labels = [client.post(SEARCH, json={"id": photo, "look": look}).get_json() for look in (0, 0.5, 1)]
    assert len({str(answer["predicted_label"]) for answer in labels}) == 1


def test_an_indexed_photo_is_recognized_and_its_copies_do_not_vote(two_parts: Site, client: FlaskClient) -> None:
    """The query has other bytes than both indexed copies, one of which has a wrong label."""
    photo = two_parts.photos[3]
    index = two_parts.searcher.index
    copy, payload = photo_id("file:///copy.jpg"), index.get([photo.id])[photo.id]
    index.upsert(
        [Point(copy, index.vectors([photo.id])[photo.id], replace(payload, uri="file:///copy.jpg", label="x"))]
    )
    query = make.encoded(Image.open(photo.path), "PNG")
    try:
        answer = client.post(SEARCH, data={"image": (io.BytesIO(query), "query.png"), "k": "3"}).get_json()
    finally:
        index.delete([copy])
    first, second, third = answer["results"]
    assert {first["id"], second["id"]} == {str(photo.id), str(copy)}
    assert answer["in_collection"] in {first["id"], second["id"]}
    assert (second["duplicate_of"], third["duplicate_of"]) == (first["id"], None)
    assert answer["predicted_label"]["label"] == photo.label
    assert answer["predicted_label"]["votes"] < 10 or answer["predicted_label"]["of"] == 10


def test_a_query_without_a_close_match_has_no_predicted_label(two_parts: Site, client: FlaskClient) -> None:
    indexed = two_parts.searcher.index.vectors([photo.id for photo in two_parts.photos])
    unlike_all = -np.mean(list(indexed.values()), axis=0)
    answer = client.post(SEARCH, json={"vector": unlike_all.tolist()}).get_json()
    assert answer["results"][0]["score"] < answer["bands"]["same_kind"]
    assert (answer["close_match"], answer["predicted_label"], answer["in_collection"]) == (False, None, None)


@pytest.mark.parametrize("look", [-0.1, 1.5, "much"])
def test_a_weight_outside_0_to_1_is_refused(client: FlaskClient, two_parts: Site, look) -> None:
    response = client.post(SEARCH, json={"id": str(two_parts.photos[0].id), "look": look})
    assert response.status_code == 422


def test_a_model_of_one_part_refuses_a_weight(shared: Site) -> None:
    response = shared.client.post(SEARCH, json={"id": str(shared.photos[0].id), "look": 0.5})
    assert response.status_code == 422
    assert "one part, kind" in response.get_json()["detail"]


def test_the_page_has_a_slider_and_keeps_its_place(two_parts: Site, client: FlaskClient) -> None:
    photo = two_parts.photos[4].id
    page = client.get("/", query_string={"id": photo}).text
    assert 'name="look"' in page and 'data-default="0.5"' in page
    turned = client.get("/", query_string={"id": photo, "look": 0.75})
    assert 'value="0.75"' in turned.text
    assert "look=0.75" in turned.text, "the address keeps it"
    assert 'name="look"' not in client.get("/", query_string={"like": photo, "look": 2}).text


def test_the_page_of_a_model_of_one_part_has_none(shared: Site) -> None:
    assert 'name="look"' not in shared.client.get("/", query_string={"id": shared.photos[0].id}).text
