"""Results in bands, by what a photo with such a score probably shows, and near-identical copies in one card."""

import re
from collections.abc import Callable, Iterator

import make
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from serving import fill_index, serving

from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[PhotoRef]]]:
    """The address of a site with calibrated scores, and its photos, one of which is there twice."""
    folder = tmp_path_factory.mktemp("bands")
    bundle, library = make.bundle(folder / "bundle", look=6), make.library(folder / "photos")
    copied = library / "red" / "0.jpg"
    copied.with_name("copy.png").write_bytes(make.encoded(Image.open(copied), "PNG"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOOKALIKE_HOME", str(folder / "home"))
        photos = fill_index(Settings(), bundle, library, calibrated=True)
        with serving() as url:
            yield url, photos


@pytest.fixture
def page(
    with_axe: BrowserContext, open_tab: Callable[[BrowserContext, str], Page], site: tuple[str, list[PhotoRef]]
) -> Page:
    """The results of a search from a green photo."""
    url, photos = site
    green = next(photo for photo in photos if photo.label == "green")
    return open_tab(with_axe, f"{url}/?id={green.id}")


def test_results_are_in_bands_and_the_last_is_closed(page: Page) -> None:
    bands = page.locator(".band")
    names = [band.get_attribute("data-band") for band in bands.all()]
    assert names == [name for name in ("same", "possible", "other") if name in names] and names[-1] == "other"
    expect(page.locator(".band[data-band=other] .card").first).to_be_hidden()
    page.get_by_text("Something else").click()
    expect(page.locator(".band[data-band=other] .card").first).to_be_visible()
    scores = [float(text.rpartition(" ")[2]) for text in page.locator(".score").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    seen = page.locator(".caption > :not(.unseen)").all_text_contents()
    assert seen and not any(re.search(r"\d\.\d\d", text) for text in seen), "numbers are in the details"


def test_the_minimum_similarity_is_a_band(page: Page) -> None:
    least = page.get_by_role("combobox", name="Minimum similarity")
    least.select_option(label="Possibly the same kind")
    expect(page).to_have_url(re.compile("band=possible$"))
    expect(page.locator(".band[data-band=other]")).to_have_count(0)
    expect(page.locator(".neighbours .card").first).to_be_visible()
    page.go_back()
    expect(page.locator(".band[data-band=other]")).to_have_count(1)
    expect(least).to_have_value("")


def test_a_copy_is_folded_into_the_card_of_its_photo(page: Page, site: tuple[str, list[PhotoRef]]) -> None:
    url, photos = site
    red = next(photo for photo in photos if photo.label == "red" and photo.uri.endswith("/1.jpg"))
    page.goto(f"{url}/?id={red.id}")
    summary = page.get_by_text("1 near-identical")
    expect(summary).to_have_count(1)
    summary.click()
    page.locator(".copies a").click()
    expect(page.get_by_role("dialog", name="Photo details")).to_contain_text(re.compile("copy.png|0.jpg"))


@pytest.mark.slow
def test_bands_are_accessible(page: Page, check_all: Callable[[Page], None]) -> None:
    check_all(page)
