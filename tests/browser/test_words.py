"""Searches by words: the text box, and terms with weights."""

import re
from collections.abc import Callable, Iterator

import pytest
from marks import slow
from playwright.sync_api import BrowserContext, Locator, Page, expect
from serving import Served, fill_index, serving
from widths import expect_to_fit

from retrieval.bundle import Bundle
from retrieval.settings import Settings

Check = Callable[[Page], None]
OpenTab = Callable[[BrowserContext, str], Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, two_towers: Bundle, library: object) -> Iterator[Served]:
    """A site whose model has a text network."""
    home = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOOKALIKE_HOME", str(home))
        photos = fill_index(Settings(), two_towers, library, calibrated=True)  # type: ignore[arg-type]
        with serving() as url:
            yield Served(url, photos, home)


def weight(page: Page, term: str) -> Locator:
    return page.get_by_role("slider", name=f"Weight of {term}")


def box(page: Page) -> Locator:
    return page.locator("#search").get_by_role("searchbox", name=re.compile("words"))


def shown(page: Page) -> list[str]:
    """The ids of the results, in order."""
    links = page.locator(".neighbours .card").evaluate_all("cards => cards.map((card) => card.getAttribute('href'))")
    return [str(link).removeprefix("/photo/") for link in links]


def found(page: Page, url: str, *terms: dict[str, object]) -> list[str]:
    """The results of the API."""
    response = page.request.post(f"{url}/api/v1/search", data={"terms": terms, "k": 24})
    return [result["id"] for result in response.json()["results"]]


def test_terms_are_added_weighted_and_removed(with_axe: BrowserContext, open_tab: OpenTab, site: Served) -> None:
    page = open_tab(with_axe, f"{site.url}/?text=a+red+tulip")
    box(page).fill("snow")
    box(page).press("Enter")
    expect(page).to_have_url(f"{site.url}/?text=a+red+tulip&text=snow")
    expect(box(page)).to_be_focused()
    weight(page, "snow").focus()
    page.keyboard.press("Home")
    expect(page).to_have_url(re.compile(r"weight\.1=-3$"))
    expect(weight(page, "snow")).to_be_focused()
    assert shown(page) == found(page, site.url, {"text": "a red tulip"}, {"text": "snow", "weight": -3})
    page.get_by_role("button", name="Remove a red tulip").click()
    expect(page).to_have_url(f"{site.url}/?text=snow&weight.0=-3")
    expect(weight(page, "snow")).to_have_value("-3")
    page.go_back()
    expect(weight(page, "a red tulip")).to_have_value("1")


@pytest.mark.slow
def test_photos_join_the_words_as_terms(with_axe: BrowserContext, open_tab: OpenTab, site: Served) -> None:
    page = open_tab(with_axe, f"{site.url}/?text=a+red+tulip")
    first, second = shown(page)[:2]
    page.get_by_role("button", name=re.compile("^More like this")).first.click()
    expect(page).to_have_url(f"{site.url}/?text=a+red+tulip&like={first}")
    page.locator(f'[name="unlike"][value="{second}"]').click()
    expect(page).to_have_url(f"{site.url}/?text=a+red+tulip&like={first}&unlike={second}")
    page.locator(f'[name="weight.{first}"]').fill("2")
    expect(page).to_have_url(re.compile(rf"weight\.{first}=2$"))
    terms = {"text": "a red tulip"}, {"id": first, "weight": 2}, {"id": second, "weight": -1}
    assert shown(page) == found(page, site.url, *terms)
    page.locator("form.chooser input[type=file]").first.set_input_files(site.photos[5].path)
    expect(page.get_by_text("Query photo", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(rf"text=a\+red\+tulip&vector=.*&like={first}&unlike={second}&weight"))
    page.get_by_role("link", name="Remove the query photo").click()
    expect(page).to_have_url(re.compile(rf"\?text=a\+red\+tulip&like={first}"))
    page.locator(f'.example.like [value="{first}"]').click()
    expect(page).to_have_url(f"{site.url}/?text=a+red+tulip&unlike={second}")


@pytest.mark.slow
def test_the_start_page_searches_by_words(with_axe: BrowserContext, open_tab: OpenTab, site: Served) -> None:
    page = open_tab(with_axe, site.url)
    page.get_by_role("searchbox").fill("a red tulip")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/?text=a+red+tulip")
    expect(weight(page, "a red tulip")).to_have_value("1")
    expect(page.get_by_role("heading", name=re.compile("Best matches|No close match"))).to_be_visible()


@pytest.mark.slow
def test_terms_fit_the_page_and_are_accessible(
    with_axe: BrowserContext, open_tab: OpenTab, site: Served, check_all: Check
) -> None:
    long = "a+photo+of+an+old+house+with+a+garden+in+the+snow"
    photo, other = site.photos[3].id, site.photos[9].id
    page = open_tab(with_axe, f"{site.url}/?text={long}&text={'x' * 60}&id={photo}&unlike={other}&weight.0=-2.5")
    expect_to_fit(page, 1440)
    for output in page.locator(".term output").all():
        expect(output).to_be_in_viewport()
    check_all(page)
    for output in page.locator(".term output").all():
        expect(output).to_be_visible()


@pytest.mark.parametrize("scripts", [slow(False)])
def test_terms_work_without_scripts(contexts: Callable[..., BrowserContext], site: Served, scripts: bool) -> None:
    page = contexts(java_script_enabled=scripts).new_page()
    page.goto(f"{site.url}/?text=a+red+tulip")
    box(page).fill("snow")
    weight(page, "a red tulip").fill("2")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"weight\.0=2"))
    expect(weight(page, "a red tulip")).to_have_value("2")
    page.get_by_role("button", name="Remove snow").click()
    expect(page.locator(".term")).to_have_count(1)
    page.close()
