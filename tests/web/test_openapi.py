"""The OpenAPI document: what it says, its page, and the API held to it by schemathesis."""

import os

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, assume, given, settings
from pydantic import SecretStr
from schemathesis import GenerationMode
from serving import Site

from web.app import create_app
from web.services import EXTENSION

EXAMPLES = int(os.environ.get("LOOKALIKE_TEST_EXAMPLES", "30"))  # for each operation
HEADERS = {"Authorization": "Bearer sesame", "Accept-Encoding": "identity"}

# A well-formed request may still hold bytes that are no photo, a vector of the wrong length, a crop beyond the photo.
# A well-formed job may name a source that is not there, or meet another one that runs.
CONFIG = {
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 422]}},
    "headers": HEADERS,
}


@pytest.mark.timeout(180 + 12 * EXAMPLES)
@pytest.mark.parametrize("examples", [3, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_the_api_does_what_it_says(own: Site, examples: int) -> None:
    library = own.photos[0].path.parents[1]
    configured = own.settings.model_copy(update={"api_keys": (SecretStr("sesame"),), "library_roots": (library,)})
    app = create_app(configured, own.store, own.searcher)
    config = schemathesis.Config.from_dict(CONFIG)
    for found in schemathesis.openapi.from_wsgi("/openapi.json", app, config=config).get_all_operations():
        hold_to_its_description(found.ok(), examples)
    app.extensions[EXTENSION].jobs.close()


def hold_to_its_description(operation: schemathesis.APIOperation, examples: int) -> None:
    @given(case=operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE))
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        assume(not is_a_form_that_has_become_right(case))
        case.call_and_validate()

    check()


def is_a_form_that_has_become_right(case: schemathesis.Case) -> bool:
    """Whether a form that was to be wrong is right: everything is text there, and a list of none is no field at all."""
    if case.media_type != "multipart/form-data" or not isinstance(case.body, dict):
        return False
    return not isinstance(case.body.get("label", ""), str) or any(value == [] for value in case.body.values())


def test_every_call_is_described(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    calls = {(method, path) for path, operations in document["paths"].items() for method in operations}
    images = "/api/v1/images/{photo}"
    assert {("post", "/api/v1/search"), ("get", "/api/v1/labels"), ("get", "/readyz"), ("get", "/healthz")} <= calls
    assert {("post", "/api/v1/images"), ("delete", images), ("get", "/api/v1/map"), ("get", "/api/v1/jobs")} <= calls
    assert {("get", images + part) for part in ("", "/similar", "/file", "/thumbnail")} <= calls
    body = document["paths"]["/api/v1/search"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    assert [tag["name"] for tag in document["tags"]] == ["Search", "Photos", "Map", "Jobs", "Models", "Health"]


def test_responses_are_described_as_they_are_sent(client: FlaskClient) -> None:
    schemas = client.get("/openapi.json").get_json()["components"]["schemas"]
    assert schemas["Job"]["properties"]["images_per_second"]["type"] == "number"
    for name in ("Job", "Model"):
        assert set(schemas[name]["required"]) == set(schemas[name]["properties"])
    (model,) = client.get("/api/v1/models").get_json()["models"]
    assert set(model) == set(schemas["Model"]["properties"])
    assert not any("." in name for name in schemas)


def test_people_can_read_it(client: FlaskClient) -> None:
    page = client.get("/api/docs").text
    for word in ("/api/v1/search", "image_base64", "min_score", "thumbnail_url", "RFC 9457"):
        assert word in page
    assert "Find photos that look like a given photo." in page and "`" not in page
    assert page.index("<code>/api/v1/search") < page.index("<code>/api/v1/jobs") < page.index("<code>/healthz")
    assert "http" not in page.replace("http-equiv", "")
