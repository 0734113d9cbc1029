"""The filters by columns: by keyboard, in the address, without violations."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from serving import fill_index, serving
from waiting import until

from retrieval.bundle import Bundle
from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.index import open_store
from retrieval.settings import Settings


@pytest.fixture
def priced(settings: Settings, bundle: Bundle, library: Path) -> Iterator[str]:
    """The address of a search on a server whose photos have a price, a shop and a date."""
    photos = fill_index(settings, bundle, library)
    schema = ColumnSchema(kinds={"price": "number", "shop": "text", "made": "date"})
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension) as index:
        extras = {
            photo: replace(
                payload, extra={"price": number, "shop": f"Shop {number % 3}", "made": f"2024-01-{number + 1:02d}"}
            )
            for number, (photo, payload) in enumerate(index.scroll_payloads())
        }
        index.replace_payloads({photo: schema.applied(payload) for photo, payload in extras.items()})
        save_schema(index, schema)
    with serving() as url:
        yield f"{url}/?id={photos[0].id}"


@pytest.mark.slow
def test_filters_are_set_by_keyboard_and_kept_in_the_address(
    priced: str,
    with_axe: BrowserContext,
    open_tab: Callable[[BrowserContext, str], Page],
    check_all: Callable[[Page], None],
) -> None:
    page = open_tab(with_axe, priced)
    cards = page.locator(".neighbours .card")
    expect(cards).to_have_count(23)
    page.get_by_text("More filters").focus()
    page.keyboard.press("Enter")
    check_all(page)
    page.get_by_role("group", name="shop").get_by_label("Shop 1").focus()
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile(r"only=shop%3DShop(\+|%20)1"))
    expect(cards).not_to_have_count(23)
    page.get_by_role("group", name="price").get_by_label("To").fill("9")
    expect(page).to_have_url(re.compile(r"to\.price=9"))
    until(lambda: cards.count() in (2, 3))
    page.reload()
    expect(page.get_by_role("group", name="price").get_by_label("To")).to_have_value("9")
    check_all(page)
    page.get_by_role("link", name="Clear filters").click()
    expect(cards).to_have_count(23)
