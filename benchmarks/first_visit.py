"""The first visit, in a real Chromium: from an empty home to the first search, with clicks only.

A new home, a folder of photos, `lookalike serve`, the link that it prints. The script clicks through the page: it
chooses the folder on the server, or uploads it with `--upload`, follows the job, which makes the first model of the
installed network, and searches from the first photo that the start page then shows.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from options import show
from playwright.sync_api import Page, expect, sync_playwright

PATIENCE = 1800_000  # milliseconds, for a loaded machine
FLAGS = ["--no-sandbox", "--disable-gpu"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--count", type=int, default=100, help="how many of them are added")
    parser.add_argument("--upload", action="store_true", help="upload the folder instead of choosing it on the server")
    parser.add_argument("--screenshots", type=Path, help="a folder for screenshots of the steps")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        for photo in islice(sorted(options.photos.rglob("*.jpg")), options.count):
            shutil.copy(photo, photos)
        show(first_visit(Path(folder), photos, options.upload, options.screenshots), options.json)


def first_visit(home: Path, photos: Path, upload: bool, screenshots: Path | None) -> dict[str, Any]:
    """Serve an empty home, and click from its first page to the first results."""
    # The page starts in the home of the user.
    environment = os.environ | {"HOME": str(home), "LOOKALIKE_HOME": str(home / "lookalike")}
    command = [sys.executable, "-m", "lookalike", "serve", "--port", "0", "--json"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        said = json.loads(server.stdout.readline())
        with sync_playwright() as playwright:
            chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
            page = playwright.chromium.launch(executable_path=chromium, args=FLAGS).new_page()
            page.set_default_timeout(PATIENCE)
            return {"photos": len(list(photos.iterdir())), "upload": upload} | clicked(
                page, said["login_url"], photos, upload, screenshots
            )
    finally:
        server.terminate()
        server.wait()


def clicked(page: Page, link: str, photos: Path, upload: bool, screenshots: Path | None) -> dict[str, float]:
    """The seconds since the first page was opened after which each step had ended."""
    start, seconds = time.perf_counter(), dict[str, float]()

    def ended(step: str) -> None:
        seconds[f"{step}_seconds"] = round(time.perf_counter() - start, 1)
        if screenshots is not None:
            screenshots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=screenshots / f"{len(seconds)}-{step}.png", full_page=True)

    page.goto(link)
    ended("first_page")
    if upload:
        page.get_by_label("Choose a folder").set_input_files(photos)
    else:
        page.get_by_role("link", name="photos", exact=True).click()
        page.get_by_role("button", name="Index this folder").click()
    expect(page).to_have_url(re.compile("/jobs$"))
    ended("job_started")
    expect(page.locator(".item .pill")).to_have_text("done", timeout=PATIENCE)
    ended("job_ended")
    page.get_by_role("link", name="Search the photos").click()
    page.get_by_role("link", name=re.compile("^Search from this photo")).first.click()
    page.locator(".neighbours .card").first.wait_for()
    ended("first_search")
    return seconds


if __name__ == "__main__":
    main()
