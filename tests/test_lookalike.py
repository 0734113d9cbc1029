"""The command line as a whole: help without imports, errors as sentences, JSON as one object."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike import COMMANDS
from retrieval.settings import Settings


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lookalike", *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_imports_no_room() -> None:
    script = "import sys, lookalike; sys.argv = ['lookalike', '--help']; lookalike.main()"
    code = f"import sys, atexit; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr)); {script}"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0
    for name, (_, summary) in COMMANDS.items():
        assert f" {name} " in finished.stdout
        assert summary.split()[0] in finished.stdout
    for module in ("trainer", "indexer", "web", "onnxruntime", "sklearn"):
        assert f"'{module}'" not in finished.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    finished = run(command, "--help")
    assert finished.returncode == 0
    assert "Usage: lookalike" in finished.stdout


def test_wrong_usage_ends_with_two() -> None:
    wrong_k = [["search", "x.jpg", "-k", k] for k in ("abc", "0", "-1", "101")]
    for arguments in (["no-such-command"], ["search"], *wrong_k, ["index"]):
        finished = run(*arguments)
        assert finished.returncode == 2, arguments
        assert "Traceback" not in finished.stderr


def test_an_error_is_one_sentence_and_with_json_one_object(settings: Settings, tmp_path: Path) -> None:
    finished = run("search", str(tmp_path / "missing.jpg"), "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["error"].endswith("missing.jpg can't be read (No such file or directory).")
    assert len(finished.stderr.strip().splitlines()) == 1


def test_a_name_that_is_no_utf8_is_escaped_in_json(settings: Settings) -> None:
    finished = run("evaluate", "--bundle", os.fsdecode(b"caf\xe9"), "--data", "x", "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["error"].startswith("caf\udce9 is not a model bundle")


def test_a_wrong_setting_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_MAX_PIXELS", "many")
    finished = run("search", "x.jpg")
    assert finished.returncode == 1
    assert "LOOKALIKE_MAX_PIXELS is 'many'" in finished.stderr


def test_searching_before_indexing_says_what_to_do(settings: Settings, library: Path) -> None:
    finished = run("search", str(next(library.glob("*/*.jpg"))))
    assert finished.returncode == 1
    assert "lookalike train" in finished.stderr
