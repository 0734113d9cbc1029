"""The commands of README and docs work as they are written."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import make
import pytest
from commands import Command
from waiting import until_it_listens

ROOT = Path(__file__).resolve().parents[1]
PORT = 5000
SHORT = "--epochs 1 --set rounds=1 --set steps_per_epoch=5 --set views=2"


def blocks() -> list[str]:
    """The shell blocks of the section "Quick start", which follows the two commands of `make`."""
    _, _, text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Quick start")
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def named_commands() -> list[str]:
    """The calls of `lookalike` in the shell blocks of README and docs."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", "".join(map(Path.read_text, pages)), flags=re.DOTALL))
    return re.findall(r"^lookalike .*", shell.replace("\\\n", " "), flags=re.MULTILINE)


def test_every_named_command_has_the_options_that_it_is_named_with(command: Command) -> None:
    assert len(named_commands()) > 10
    for line in named_commands():
        called = command(*shlex.split(line, comments=True)[1:], "--help")
        assert called.status == 0, (line, called.err)


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
        until_it_listens(process, PORT)
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_in_order(place: Path, request: pytest.FixtureRequest) -> None:
    """Train, evaluate, index, search; then, with the server of the README running, its request over HTTP.

    The training is shortened to one epoch.
    """
    steps = blocks()
    assert len(steps) == 6
    for block in steps[:4]:
        bash(re.sub("^lookalike train .*$", rf"\g<0> {SHORT}", block, flags=re.MULTILINE), place)
    assert '"red"' in bash("lookalike search photo.jpg -k 5 --json", place)
    request.getfixturevalue("server")
    assert '"score"' in bash(steps[5], place)
