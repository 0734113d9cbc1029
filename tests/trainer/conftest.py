"""Fixtures for the tests of the trainer."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import make
import pytest
from commands import Called, Command
from exported import Export, exported_once
from once import once

from trainer import download

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--seeds", "2", "--json")
OPTIONS += ("--set", "loss.margin=0.9", "--set", "steps_per_epoch=5", "--tensorboard", "logs")

Trained = tuple[Path, dict[str, object]]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three classes of twelve photos, a folder per class."""
    return make.library(tmp_path / "colours", per_label=12)


@pytest.fixture
def silent_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a host that accepts connections and never responds."""
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.fixture
def lookalike(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Call a command of Lookalike in a folder, which is also its home, but in this process."""

    def call(*words: object, home: Path) -> Called:
        monkeypatch.chdir(home)
        monkeypatch.setenv("LOOKALIKE_HOME", str(home))
        return command(*words)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A folder with photos and a bundle that `lookalike train` made of them with two seeds, and its output.

    All tests share it and must not change anything there.
    """
    home = once(tmp_path_factory, "trained", _train)
    return home, json.loads((home / "printed.json").read_text())


@pytest.fixture(scope="session")
def exported_backbone(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return the network of a backbone as ONNX; all tests share it and must not change it."""
    return lambda name: exported_once(tmp_path_factory, name)


def environment(home: Path) -> dict[str, str]:
    """The environment of a process: only a home."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LOOKALIKE_HOME": str(home), "PYTHONPATH": str(ROOT)}


def _train(home: Path) -> None:
    """Train in a separate process, as a user does."""
    make.library(home / "colours", per_label=12)
    (home / "colours" / "green" / "letter.jpg").write_text("Dear photo")
    words = ("train", "--data", "colours", "--out", "bundle", *OPTIONS)
    command = [sys.executable, "-m", "lookalike", *words]
    run = subprocess.run(command, capture_output=True, text=True, env=environment(home), cwd=home, check=False)
    assert run.returncode == 0, run.stderr
    assert "letter.jpg" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Training small_cnn with the recipe default on " in run.stderr
    (home / "printed.json").write_text(run.stdout)
