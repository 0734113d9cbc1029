"""The README's commands work as they are written."""

import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import make
import pytest

ROOT = Path(__file__).resolve().parents[1]
PORT = 5000


def blocks() -> list[str]:
    """The shell blocks of the section "Quick start", which follows the two commands of `make`."""
    _, _, text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Quick start")
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with labelled photos, a library and a photo, named as the README names them."""
    folder = tmp_path_factory.mktemp("place")
    make.library(folder / "labelled-photos", per_label=12)
    make.library(folder / "library", per_label=10)
    shutil.copy(folder / "library" / "red" / "3.jpg", folder / "photo.jpg")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


@pytest.fixture
def server(place: Path) -> Iterator[None]:
    (serve,) = [block for block in blocks() if block.startswith("lookalike serve")]
    process = subprocess.Popen(["bash", "-c", f"exec {serve}"], cwd=place, env=environment())
    try:
        for _ in range(150):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz").close()
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def environment() -> dict[str, str]:
    return {
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/nonexistent",
        "VIRTUAL_ENV_DISABLE_PROMPT": "1",
    }


def bash(script: str, place: Path) -> str:
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{script}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


@pytest.mark.timeout(600)
def test_the_commands_in_order(place: Path, request: pytest.FixtureRequest) -> None:
    """Train, evaluate, index, search; then, with the server of the README running, its request over HTTP."""
    steps = blocks()
    assert len(steps) == 6
    for block in steps[:4]:
        bash(block, place)
    assert '"red"' in bash("lookalike search photo.jpg -k 5 --json", place)
    request.getfixturevalue("server")
    assert '"score"' in bash(steps[5], place)
