"""The README's pictures of the search page and of the map. Run by hand:

.venv/bin/python docs/picture.py [HOME]

It shows the index of a home; without one, of the digits that `lookalike demo` falls back on.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

LOOKALIKE = [sys.executable, "-m", "lookalike"]
PICTURES = Path(__file__).with_name("images")


def main() -> None:
    """Photograph the pages."""
    with tempfile.TemporaryDirectory() as folder:
        home = sys.argv[1] if len(sys.argv) > 1 else _demo(folder)
        with _serving(home) as url:
            _photograph(url)
    for picture in PICTURES.glob("*.png"):
        print(f"{picture}: {picture.stat().st_size:,} bytes")


def _demo(home: str) -> str:
    subprocess.run([*LOOKALIKE, "demo", "--data", "digits", "--no-serve"], check=True, env=_at(home))
    return home


@contextmanager
def _serving(home: str) -> Iterator[str]:
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, env=_at(home), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def _at(home: str) -> dict[str, str]:
    return os.environ | {"LOOKALIKE_HOME": home}


def _photograph(url: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark", reduced_motion="reduce")
        page.goto(url)
        page.locator(".card").nth(3).click()
        page.locator(".neighbours .card").nth(2).click(modifiers=["Shift"])
        page.locator(".example").wait_for()
        _save(page, "page.png")
        page.goto(f"{url}/map")
        compute = page.get_by_role("button", name="Compute the map")
        compute.or_(page.locator(".stage")).locator("visible=true").wait_for()
        if compute.is_visible():
            compute.click()
        page.locator(".stage").wait_for(timeout=600_000)
        _save(page, "map.png")
        browser.close()


def _save(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=PICTURES / name)


if __name__ == "__main__":
    main()
