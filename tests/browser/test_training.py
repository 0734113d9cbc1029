"""Training a model from the page Models: start, progress, comparison, activation."""

import json

import pytest
from marks import wide_only
from playwright.sync_api import Page, Route, expect

API = "**/api/v1"
JOB = {
    "id": "20260101-000000-abcdef",
    "kind": "train",
    "state": "running",
    "training": {"recipe": "new-classes", "backbone": None, "seed": 0, "epochs": None, "changes": []},
    "progress": {"epoch": 2, "epochs": 8, "step": 30, "steps": 120, "map_at_r": 0.5},
    "step": "epoch 1",
    "comparison": None,
    "model": "",
    "error": None,
    "seen": 0,
    "indexed": 0,
    "unchanged": 0,
    "failed": 0,
}
AFTER = {"model": "b", "photos": 24, "queries": 8, "recall_at_1": 0.875, "map_at_r": 0.75}
DONE = JOB | {
    "state": "done",
    "model": "b",
    "seen": 24,
    "indexed": 24,
    "comparison": {"after": AFTER, "before": AFTER | {"model": "a", "recall_at_1": 0.5}, "held_out": True},
}


@pytest.mark.slow
def test_a_model_is_trained_and_offered(page: Page, url: str) -> None:
    sent: list[object] = []

    def jobs(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_json)
        route.fulfill(json=JOB if route.request.method == "POST" else {"jobs": [], "total": 0, "last_sync": None})

    page.route(f"{API}/jobs*", jobs)
    page.route(f"{API}/jobs/{JOB['id']}/events", events(JOB))
    page.goto(f"{url}/models")
    training = page.get_by_role("region", name="Training")
    page.get_by_label("Recipe").select_option("new-classes")
    expect(training).to_be_hidden()
    page.get_by_role("button", name="Train on these labels").click()
    expect(training).to_contain_text("Epoch 2 of at most 8, step 30 of 120, MAP@R 0.500")
    expect(page.get_by_role("button", name="Train on these labels")).to_be_disabled()
    expect(training.get_by_role("progressbar")).to_have_attribute("value", "30")
    assert sent == [{"kind": "train", "recipe": "new-classes"}]
    with page.expect_request(f"**/jobs/{JOB['id']}/cancel"):
        training.get_by_role("button", name="Cancel").click()


@pytest.mark.slow
@wide_only
def test_the_last_training_is_compared_and_activated_on_request(page: Page, url: str) -> None:
    page.route(f"{API}/jobs*", lambda route: route.fulfill(json={"jobs": [DONE], "total": 1, "last_sync": None}))
    page.goto(f"{url}/models")
    training = page.get_by_role("region", name="Training")
    expect(training).to_contain_text("8 labelled photos that neither model was trained on")
    expect(training).to_contain_text("recall@1 0.875 and MAP@R 0.750, the current model with recall@1 0.500")
    with page.expect_request("**/models/b/activate"):
        training.get_by_role("button", name="Activate").click()


def events(job: dict[str, object]) -> object:
    """A handler that sends one event of a job, and leaves the browser to reconnect."""
    body = f"retry: 60000\ndata: {json.dumps(job)}\n\n"
    return lambda route: route.fulfill(content_type="text/event-stream", body=body)
