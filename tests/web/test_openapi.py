"""The OpenAPI document: what it says, its page, and the API held to it by schemathesis."""

import os
import pkgutil
import re
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, assume, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, SecretStr, ValidationError
from schemathesis import GenerationMode
from serving import Served, Site

from web import schemas
from web.app import create_app
from web.problems import PROBLEM_TYPES, STATUS_OF
from web.services import EXTENSION

EXAMPLES = int(os.environ.get("LOOKALIKE_TEST_EXAMPLES", "30"))  # for each operation
HEADERS = {"Authorization": "Bearer sesame", "Accept-Encoding": "identity"}

# A well-formed request may still hold bytes that are no photo, a vector of the wrong length, a crop beyond the photo.
# A well-formed job may name a source that is not there, or meet another one that runs. A photo may have another
# version than the one that `If-Match` names.
CONFIG = {
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 412, 422]}},
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


MODULES = [import_module(f"web.schemas.{module.name}") for module in pkgutil.iter_modules(schemas.__path__)]
FOUND = {each for module in MODULES for each in vars(module).values() if isinstance(each, type)}
MODELS = sorted((each for each in FOUND if issubclass(each, BaseModel)), key=lambda model: model.__name__)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_null_is_accepted_or_refused_in_each_field(model: type[BaseModel]) -> None:
    """A limit of the length of text or nothing failed with a `TypeError` for nothing, which was a 500."""
    for name in model.model_fields:
        with suppress(ValidationError):
            model.model_validate({name: None})


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
    tags = ["Search", "Photos", "Review", "Map", "Jobs", "Models", "Health"]
    assert [tag["name"] for tag in document["tags"]] == tags


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


def test_it_is_valid_and_operations_have_unique_ids(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert {"searchPhotos", "addPhoto", "listJobs", "activateModel"} <= set(ids) and len(ids) == len(set(ids))


def test_the_page_has_contents_status_codes_keys_and_types_of_problems(client: FlaskClient) -> None:
    page = client.get("/api/docs").text
    anchors, links = set(re.findall(r' id="([\w-]+)"', page)), set(re.findall(r'href="#([\w-]+)"', page))
    assert {"searchPhotos", "keys", "problems", "index-busy"} <= anchors and links <= anchors
    assert "Needs a key" in page and "Too many requests" in page
    problem = client.get("/api/v1/images/00000000-0000-0000-0000-000000000000").get_json()
    assert problem["type"].partition("#")[::2] == ("/api/docs", "not-found")
    assert client.post("/api/v1/search", json={"k": 0}).get_json()["type"].endswith("#invalid-request")
    assert client.get("/nothing").get_json()["type"] == "about:blank"


def test_each_error_with_a_status_has_a_type(client: FlaskClient) -> None:
    found = {re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower(): status for kind, status in STATUS_OF.items()}
    assert found == {name: status for name, (_, status) in PROBLEM_TYPES.items() if name in found}


def test_scripts_and_styles_are_cached_for_a_year_by_their_content(client: FlaskClient) -> None:
    page = client.get("/").text
    (address,) = re.findall(r'href="(/static/[0-9a-f]{12}/base.css)"', page)
    assert client.get(address).cache_control.max_age == 365 * 24 * 3600


@pytest.mark.slow
def test_a_generated_python_client_searches(served: Served, tmp_path: Path) -> None:
    """By an indexed photo, by an uploaded one, and by an id in JSON."""
    tool = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    subprocess.run([*tool, "--url", f"{served.url}/openapi.json", "--output-path", tmp_path / "generated"], check=True)
    photo = served.photos[0]
    command = [sys.executable, "-c", GENERATED_CLIENT, served.url, str(photo.id), photo.path]
    assert subprocess.check_output(command, cwd=tmp_path, text=True).split() == ["3", "4", "5"]


GENERATED_CLIENT = """
import sys
import uuid
from generated import Client
from generated.api.photos import find_similar_photos
from generated.api.search import search_photos
from generated.models import IndexedPhoto, UploadedPhoto
from generated.types import File

url, photo, path = sys.argv[1:]
client = Client(base_url=url)
print(len(find_similar_photos.sync(uuid.UUID(photo), client=client, k=3).results))
with open(path, "rb") as file:
    uploaded = UploadedPhoto(image=File(file, "photo.jpg"), k=4)
    print(len(search_photos.sync(client=client, body=uploaded).results))
print(len(search_photos.sync(client=client, body=IndexedPhoto(id=uuid.UUID(photo), k=5)).results))
"""
