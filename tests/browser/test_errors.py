"""What pages say about errors of the API, which are written for programs."""

import json

import pytest
from marks import wide_only
from playwright.sync_api import Page, expect

API = "**/api/v1"
MODEL = {
    "backbone": "mobilenet_v2",
    "recipe": "default",
    "dimension": 16,
    "precision": "float32",
    "previous": False,
    "problem": None,
    "points": 20_000,
    "metrics": {"test": None, "val": None, "untrained": None},
    "created_at": "2026-01-01T00:00:00+00:00",
    "training_data": None,
}
WORSE = "b was not activated: its MAP@R is 0.1, and that of a 0.9. Keep a, or allow the loss with --max-loss."
SAID: list[tuple[dict[str, object], str]] = [
    (
        {"detail": "Another job is running.", "remedy": "Wait for its end, or cancel it.", "status": 409},
        "Another job is running. Wait for its end, or cancel it.",
    ),
    (
        {"detail": "x is a URL.", "remedy": "Index it with `lookalike index` on the server.", "status": 422},
        "x is a URL. Change what was entered, or ask the administrator of this server.",
    ),
    (
        {"detail": "This server is read-only (LOOKALIKE_READ_ONLY).", "remedy": "", "status": 403},
        "This server is read-only. Ask the administrator of this server.",
    ),
    (
        {"detail": "k: wrong.", "remedy": "See /api/docs for k.", "status": 422, "type": "/api/docs#invalid-request"},
        "What was entered can't be used. Change what was entered, or ask the administrator of this server.",
    ),
    (
        {"detail": "More than 9 per minute.", "remedy": "See the Retry-After header.", "status": 429},
        "More than 9 per minute. Wait a minute, then try again.",
    ),
    ({"detail": "The server can't be reached."}, "The server can't be reached."),
]


@wide_only
def test_problems_are_described_without_commands_and_settings(page: Page) -> None:
    assert [describe(page, problem) for problem, _ in SAID] == [said for _, said in SAID]


@pytest.mark.parametrize("reason", ["worse-model", "not-comparable"])
@wide_only
def test_a_worse_model_can_be_activated_after_a_job_has_refused_it(page: Page, url: str, reason: str) -> None:
    """With more than 10,000 photos, a job activates a model; its record has the type of the error."""
    models = [MODEL | {"id": "a", "current": True}, MODEL | {"id": "b", "current": False}]
    job = {"id": "1", "kind": "activate", "state": "failed", "error": WORSE, "error_type": reason}
    page.route(f"{API}/models", lambda route: route.fulfill(json={"models": models, "serves": "a"}))
    page.route(f"{API}/models/b/activate*", lambda route: route.fulfill(status=202, json=job))
    events = {"content_type": "text/event-stream", "body": f"id: end\ndata: {json.dumps(job)}\n\n"}
    page.route(f"{API}/jobs/1/events", lambda route: route.fulfill(**events))
    page.goto(f"{url}/models")
    page.get_by_role("button", name="Activate", exact=True).click()
    notice = page.get_by_role("alert").filter(has_text="was not activated")
    expect(notice).not_to_contain_text("--max-loss")
    with page.expect_request("**/activate?max_loss=1"):
        notice.get_by_role("button", name="Activate it anyway").click()


@wide_only
def test_a_key_of_a_lower_scope_can_be_replaced_in_the_dialog(page: Page, url: str) -> None:
    """The page was opened before the browser was signed in with another key, for example in another tab."""
    detail = "The key ann has the scope read; this request needs write."
    refusal = {"status": 403, "headers": {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}}
    page.route(f"{API}/jobs", lambda route: route.fulfill(**refusal, json={"detail": detail, "status": 403}))
    page.goto(f"{url}/jobs")
    page.get_by_role("button", name="Compute the map").click()
    expect(page.get_by_role("dialog", name="A key is required")).to_contain_text(detail)


def describe(page: Page, problem: dict[str, object]) -> str:
    """What the scripts of the page say about a problem."""
    script = page.locator("script[src*='recent.js']").get_attribute("src") or ""
    address = script.replace("recent.js", "errors.js")
    said: str = page.evaluate(
        "async ([address, problem]) => (await import(address)).describe(problem)", [address, problem]
    )
    return said
