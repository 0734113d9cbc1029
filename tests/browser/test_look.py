"""The slider from same kind to same look."""

import re
from collections.abc import Callable, Iterator

import make
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from serving import fill_index, serving

from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[PhotoRef]]]:
    """The address of a site whose model has two parts, and its photos."""
    folder = tmp_path_factory.mktemp("look")
    bundle, library = make.bundle(folder / "bundle", look=6), make.library(folder / "photos")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOOKALIKE_HOME", str(folder / "home"))
        photos = fill_index(Settings(), bundle, library)
        with serving() as url:
            yield url, photos


@pytest.fixture
def page(
    with_axe: BrowserContext, open_tab: Callable[[BrowserContext, str], Page], site: tuple[str, list[PhotoRef]]
) -> Page:
    """The results of a search from an indexed photo."""
    url, photos = site
    return open_tab(with_axe, f"{url}/?id={photos[0].id}")


def slider(page: Page):  # type: ignore[no-untyped-def]
    return page.get_by_role("slider", name="From same kind to same look")


def shown(page: Page) -> list[str]:
    """The ids of the results, in order."""
    links = page.locator(".neighbours .card").evaluate_all("cards => cards.map((card) => card.getAttribute('href'))")
    return [str(link).removeprefix("/photo/") for link in links]


def found(page: Page, photo: PhotoRef, look: float) -> list[str]:
    """The results of the API."""
    asked = {"id": str(photo.id), "k": 23, "look": look}
    response = page.request.post(f"{page.url.partition('/?')[0]}/api/v1/search", data=asked)
    return [result["id"] for result in response.json()["results"]]


def test_moving_it_changes_results_and_address_and_back_restores_them(
    page: Page, site: tuple[str, list[PhotoRef]]
) -> None:
    photo = site[1][0]
    expect(slider(page)).to_have_value("0.5")
    before = shown(page)
    assert before == found(page, photo, 0.5)
    slider(page).fill("1")
    expect(page).to_have_url(re.compile("look=1$"))
    assert shown(page) == found(page, photo, 1) != before
    slider(page).fill("0")
    expect(page).to_have_url(re.compile("look=0$"))
    assert shown(page) == found(page, photo, 0) != before
    page.go_back()
    expect(page).not_to_have_url(re.compile("look="))
    expect(slider(page)).to_have_value("0.5")
    assert shown(page) == before
    page.go_forward()
    expect(page).to_have_url(re.compile("look=0$"))
    expect(slider(page)).to_have_value("0")
    page.reload()
    expect(slider(page)).to_have_value("0")
    assert shown(page) == found(page, photo, 0)


def test_the_keyboard_moves_it(page: Page, site: tuple[str, list[PhotoRef]]) -> None:
    slider(page).focus()
    page.keyboard.press("End")
    expect(page).to_have_url(re.compile("look=1$"))
    expect(slider(page)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"look=0\.95$"))
    expect(slider(page)).to_be_focused()
    assert shown(page) == found(page, site[1][0], 0.95)


def test_a_page_with_the_slider_is_accessible(page: Page, check_all: Callable[[Page], None]) -> None:
    check_all(page)
    slider(page).fill("0.75")
    expect(page).to_have_url(re.compile(r"look=0\.75$"))
    check_all(page)
