"""The README's picture of the search page. Run by hand:

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

from playwright.sync_api import sync_playwright

LOOKALIKE = [sys.executable, "-m", "lookalike"]
PICTURE = Path(__file__).with_name("images") / "page.png"


def main() -> None:
    """Photograph the page."""
    with tempfile.TemporaryDirectory() as folder:
        home = sys.argv[1] if len(sys.argv) > 1 else _demo(folder)
        with _serving(home) as url:
            _photograph(url)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


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
    PICTURE.parent.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
        page.goto(url)
        page.locator(".card").nth(3).click()
        page.locator(".neighbours").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1000)  # the photos fade in
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
