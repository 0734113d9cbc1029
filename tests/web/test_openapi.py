"""The OpenAPI document: what it says, its page, and the API held to it by schemathesis."""

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from serving import Site

EXAMPLES = 20

# A well-formed request may still hold bytes that are no photo, a vector of the wrong length, a crop beyond the photo.
CONFIG = {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 422]}}}


@pytest.mark.timeout(120)
def test_the_api_does_what_it_says(shared: Site) -> None:
    config = schemathesis.Config.from_dict(CONFIG)
    for found in schemathesis.openapi.from_wsgi("/openapi.json", shared.app, config=config).get_all_operations():
        hold_to_its_description(found.ok())


def hold_to_its_description(operation: schemathesis.APIOperation) -> None:
    @given(case=operation.as_strategy(GenerationMode.POSITIVE) | operation.as_strategy(GenerationMode.NEGATIVE))
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate()

    check()


def test_every_call_is_described(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["openapi"].startswith("3.1")
    calls = {(method, path) for path, operations in document["paths"].items() for method in operations}
    images = "/api/v1/images/{photo}"
    assert {("post", "/api/v1/search"), ("get", "/api/v1/labels"), ("get", "/readyz"), ("get", "/healthz")} <= calls
    assert {("get", images + part) for part in ("", "/similar", "/file", "/thumbnail")} <= calls
    body = document["paths"]["/api/v1/search"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}


def test_people_can_read_it(client: FlaskClient) -> None:
    page = client.get("/api/docs").text
    for word in ("/api/v1/search", "image_base64", "min_score", "thumbnail_url", "RFC 9457"):
        assert word in page
    assert "http" not in page.replace("http-equiv", "")
