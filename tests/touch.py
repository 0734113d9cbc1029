"""Gestures of fingers on a touchscreen."""

from collections.abc import Sequence
from contextlib import suppress

from playwright.sync_api import Locator, Page, expect

Finger = tuple[float, float]

# Marks the page until it gets a click, or until another page has replaced it.
MARK = """
() => {
    const page = document.documentElement;
    page.dataset.tapped = "";
    addEventListener("click", () => delete page.dataset.tapped, { capture: true, once: true });
}
"""


def tap(page: Page, x: float, y: float) -> None:
    """Tap until the page gets the click: on a loaded machine, Chromium can take a tap for a long press."""
    for _ in range(5):
        page.evaluate(MARK)
        page.touchscreen.tap(x, y)
        with suppress(AssertionError):
            expect(page.locator("[data-tapped]")).to_have_count(0, timeout=3000)
            return
    raise AssertionError(f"five taps at {x}, {y} were no click")


def tap_on(target: Locator) -> None:
    """Tap in the middle of an element, when it no longer moves and nothing covers it."""
    target.tap(trial=True)
    tap(target.page, *middle(target))


def drag(page: Page, path: Sequence[Finger]) -> None:
    """Move one finger along these positions on the screen."""
    gesture(page, [[place] for place in path])


def pinch(page: Page, x: float, y: float) -> None:
    """Zoom to twice the size with two fingers."""
    gesture(page, [[(x - apart, y), (x + apart, y)] for apart in (40, 60, 80)])


def middle(target: Locator) -> Finger:
    box = target.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def gesture(page: Page, steps: Sequence[Sequence[Finger]]) -> None:
    """Put the fingers down at the first positions, move them to the others, and lift them."""
    touch = page.context.new_cdp_session(page)
    for number, fingers in enumerate([*steps, []]):
        kind = "touchStart" if number == 0 else "touchMove" if fingers else "touchEnd"
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(fingers)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.detach()
