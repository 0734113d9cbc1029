import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import make
import pytest

ROOT = Path(__file__).resolve().parents[2]

Lookalike = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three classes of twelve photos, a folder per class."""
    return make.library(tmp_path / "colours", per_label=12)


@pytest.fixture(scope="session")
def lookalike() -> Lookalike:
    """Runs a command of Lookalike as a user would, in a process of its own."""
    return _lookalike


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder with photos and a bundle that `lookalike train` made of them with two seeds, and what it printed."""
    home = tmp_path_factory.mktemp("trained")
    make.library(home / "colours", per_label=12)
    (home / "colours" / "green" / "letter.jpg").write_text("Dear photo")
    options = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--seeds", "2", "--json")
    options += ("--set", "loss.margin=0.9", "--tensorboard", "logs")
    run = _lookalike("train", "--data", "colours", "--out", "bundle", *options, home=home)
    assert run.returncode == 0, run.stderr
    assert "letter.jpg" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Training small_cnn with the recipe default on " in run.stderr
    return home, json.loads(run.stdout)


def _lookalike(*arguments: str | Path, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lookalike", *map(str, arguments)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LOOKALIKE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment |= variables
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, check=False)
