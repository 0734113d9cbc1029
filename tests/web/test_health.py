"""`/healthz` and `/readyz`."""

import json

import pytest
from flask.testing import FlaskClient
from serving import Site

from retrieval.search import Searcher

CHECKED = {
    "checked_at": "2026-01-01T00:00:00+00:00",
    "passed": True,
    "queries": 24,
    "recall_at_k": 1.0,
    "max_score_error": 1e-7,
    "disagreements": [],
}


@pytest.mark.parametrize("below", ["", "/api/v1"])
def test_a_living_process_says_ok(client: FlaskClient, below: str) -> None:
    assert client.get(f"{below}/healthz").get_json() == {"status": "ok"}


@pytest.mark.parametrize("below", ["", "/api/v1"])
def test_it_is_ready_with_model_and_index(client: FlaskClient, searcher: Searcher, below: str) -> None:
    response = client.get(f"{below}/readyz")
    assert response.status_code == 200
    assert response.get_json() == {
        "ready": True,
        "model": searcher.index.model,
        "dimension": 16,
        "photos": 24,
        "crosscheck": None,
        "problems": [],
    }


def test_the_last_crosscheck_is_shown(own: Site) -> None:
    file = own.settings.home / "crosscheck" / f"{own.searcher.index.model}.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"model": own.searcher.index.model, "k": 10} | CHECKED))
    assert own.client.get("/readyz").get_json()["crosscheck"] == CHECKED | {"recall_at_100": None, "by_look": None}
    file.write_text("{half a fi")
    assert own.client.get("/readyz").get_json()["crosscheck"] is None


def test_it_is_not_ready_without_its_bundle(own: Site) -> None:
    own.searcher.embedder.bundle.network.unlink()
    response = own.client.get("/readyz")
    assert response.status_code == 503
    assert not response.get_json()["ready"] and "no longer exists" in response.get_json()["problems"][0]


def test_it_is_not_ready_with_another_models_index(own: Site) -> None:
    own.searcher.index.model = "vgg16-000000000000"
    assert own.client.get("/readyz").status_code == 503
