"""Problem documents for every error, pages where a browser asks, and the headers on every answer."""

import json
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from serving import Site

from retrieval.errors import IndexWriteFailed, NoModel, NotFound
from web.logs import JsonFormatter
from web.problems import STATUS_OF

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nothing", 404), ("GET", "/nothing", 404), ("DELETE", "/api/v1/search", 405), ("PUT", "/", 405)],
)
def test_errors_are_problem_documents(client: FlaskClient, method: str, path: str, status: int) -> None:
    response = client.open(path, method=method)
    problem = response.get_json()
    assert response.status_code == status and response.mimetype == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "remedy", "errors", "request_id"}
    assert problem["status"] == status and problem["detail"] and problem["remedy"]
    assert status != 405 or response.headers["Allow"]


def test_a_browser_gets_a_page_and_the_api_stays_json(client: FlaskClient) -> None:
    page = client.get("/nothing", headers=BROWSER)
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert 'role="alert"' in page.text
    assert client.get("/api/v1/nothing", headers=BROWSER).mimetype == "application/problem+json"


@pytest.mark.parametrize("error", [RuntimeError("secret"), IndexWriteFailed("The disk is full.", "Make room.")])
def test_a_failure_inside_says_no_more_than_it_should(
    shared: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(shared.searcher.index, "get", fail)
    caplog.handler.setFormatter(JsonFormatter())
    response = shared.client.get(f"/api/v1/images/{uuid.UUID(int=0)}", headers={"X-Request-ID": "trace-7"})
    assert response.mimetype == "application/problem+json"
    assert "secret" not in response.text
    logged = next(line for line in map(json.loads, caplog.text.splitlines()) if line["level"] != "INFO")
    assert logged["request_id"] == "trace-7" and str(error) in str(logged)
    assert response.status_code == (500 if isinstance(error, RuntimeError) else 503)


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/api/v1/labels", "/api/v1/nothing", "{static}/page.js", "/api/docs"]
)
def test_every_answer_is_fenced_in(client: FlaskClient, path: str) -> None:
    headers = client.get(path.format(static=client.application.static_url_path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "script-src 'self';" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/../app.py", "/../../app.py", "/%2e%2e/app.py", "/%2fetc%2fpasswd"])
def test_nothing_but_the_static_files_is_given_out(client: FlaskClient, path: str) -> None:
    assert client.get(client.application.static_url_path + path, follow_redirects=True).status_code == 404


def test_every_error_of_something_that_does_not_exist_has_the_status_404() -> None:
    others = {*NotFound.__subclasses__()} - {NoModel}
    assert {STATUS_OF[kind] for kind in (NotFound, *others)} == {404}
    assert STATUS_OF[NoModel] == 503, "there may be one later"
