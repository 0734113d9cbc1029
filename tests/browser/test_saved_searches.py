"""Saving a search under a name, and opening, renaming and removing it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from serving import Served


@pytest.fixture
def key(page: Page, served: Served) -> Iterator[str]:
    """The key of the server; after the test, it has no saved searches."""
    secret = (served.home / "api-key").read_text().strip()
    yield secret
    api, headers = f"{served.url}/api/v1/searches", {"Authorization": f"Bearer {secret}"}
    for saved in page.request.get(api, headers=headers).json()["searches"]:
        page.request.delete(f"{api}/{saved['name']}", headers=headers)


def test_a_search_is_saved_renamed_opened_and_removed(page: Page, served: Served, key: str) -> None:
    address = f"{served.url}/?id={served.photos[0].id}&label=red"
    page.goto(address)
    page.get_by_text("Save this search").click()
    page.get_by_label("Name of the search").fill("Red ones")
    page.keyboard.press("Enter")
    expect(page.locator(".save-search").get_by_role("link", name="Sign in")).to_be_visible()
    page.set_extra_http_headers({"Authorization": f"Bearer {key}"})
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".save-search .hint")).to_contain_text("Saved as “Red ones”.")
    page.goto(served.url)
    clock = page.get_by_role("button", name="Saved and recent searches")
    clock.click()
    panel = page.get_by_role("dialog", name="Saved and recent searches")
    panel.get_by_role("button", name="Rename Red ones").click()
    panel.get_by_label("New name").fill("Roses")
    page.keyboard.press("Enter")
    expect(panel.get_by_role("link", name="Roses", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(address) + "$"))
    clock.click()
    panel.get_by_role("button", name="Remove Roses").click()
    expect(panel.locator(".saved")).to_be_hidden()
