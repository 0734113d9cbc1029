"""Pages that fit screens of any width."""

from playwright.sync_api import Page

# The page, and the dialogs and panels over it, as far as they can be scrolled sideways.
SCROLLING = """() => [document.documentElement, ...document.querySelectorAll("dialog[open], :popover-open")]
    .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.cloneNode().outerHTML)"""


def expect_to_fit(page: Page, width: int = 320) -> None:
    """Make the page that wide; neither it nor a dialog or panel over it may be wider."""
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate(SCROLLING) == [], (page.url, width)
