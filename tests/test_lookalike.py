"""The command line as a whole: help without imports, errors as sentences, JSON as one object."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command
from rich.console import Group
from rich.table import Column, Table

import lookalike
from indexer.jobs import IndexRequest, JobRecord
from lookalike.cli import COMMANDS
from retrieval.bundle import Bundle
from retrieval.console import print_result
from retrieval.errors import NotFound
from retrieval.search import SearchParameters
from retrieval.settings import Settings


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_imports_no_package() -> None:
    script = "import sys, lookalike.cli; sys.argv = ['lookalike', '--help']; lookalike.cli.main()"
    finished = run(
        "-c", f"import sys, atexit; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr)); {script}"
    )
    assert finished.returncode == 0
    for name, (_, summary) in COMMANDS.items():
        assert f" {name} " in finished.stdout
        assert summary.split()[0] in finished.stdout
    for module in ("trainer", "indexer", "web", "onnxruntime", "sklearn"):
        assert f"'{module}'" not in finished.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, command: Command) -> None:
    called = command(name, "--help")
    assert called.status == 0
    assert f"Usage: lookalike {name}" in called.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lookalike cro", {"crosscheck"}),
        ("lookalike jobs ", {"list", "show", "failures", "retry", "cancel"}),
        ("lookalike jobs retry --s", {"--strict"}),
        ("lookalike train --re", {"--recipe", "--resume"}),
        ("lookalike index --label-from ", {"folder", "manifest", "none"}),
    ],
)
def test_the_shell_completes_at_every_depth(
    typed: str, expected: set[str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_LOOKALIKE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split(" ")) - 1))
    assert set(command().out.split()) == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_complete_as_well(shell: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_LOOKALIKE_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "lookalike jobs ca")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert "cancel" in command().out


def test_a_misspelt_command_is_suggested(command: Command) -> None:
    called = command("jbs")
    assert called.status == 2
    assert "Did you mean 'jobs'?" in called.err


def test_wrong_usage_ends_with_two(command: Command) -> None:
    wrong_k = [["search", "x.jpg", "-k", k] for k in ("abc", "0", "-1", "101")]
    for words in (["no-such-command"], ["search"], *wrong_k, ["index"]):
        assert command(*words).status == 2, words


def test_an_error_is_one_sentence_and_with_json_one_object(settings: Settings, tmp_path: Path) -> None:
    finished = run("-m", "lookalike", "search", str(tmp_path / "missing.jpg"), "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["error"].endswith("missing.jpg can't be read (No such file or directory).")
    assert len(finished.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_name_that_is_no_utf8_is_escaped_in_json(settings: Settings) -> None:
    finished = run("-m", "lookalike", "evaluate", "--bundle", os.fsdecode(b"caf\xe9"), "--data", "x", "--json")
    assert finished.returncode == 1
    assert json.loads(finished.stdout)["error"].startswith("caf\udce9 is not a model bundle")


def test_a_wrong_setting_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_MAX_PIXELS", "many")
    called = command("search", "x.jpg")
    assert called.status == 1
    assert "LOOKALIKE_MAX_PIXELS is 'many'" in called.err


def test_searching_before_indexing_says_what_to_do(command: Command, library: Path) -> None:
    called = command("search", next(library.glob("*/*.jpg")))
    assert called.status == 1
    assert "lookalike train" in called.err


def test_a_program_searches_without_the_command_line(
    command: Command, bundle: Bundle, library: Path, settings: Settings, tmp_path: Path
) -> None:
    command("index", library, "--bundle", bundle.folder)
    photo = library / "red" / "0.jpg"
    for home in (None, str(settings.home)):
        with lookalike.open_searcher(home) as searcher:
            found = searcher.by_photo(photo.read_bytes(), SearchParameters(k=3))
            assert found.results[0].uri == photo.as_uri()
    with pytest.raises(NotFound, match="No photos have been indexed"), lookalike.open_searcher(tmp_path):
        pass
    assert lookalike.load_bundle(bundle.folder) == bundle


LONG = "photo-" + "x" * 200 + "-end"


def test_tables_cut_no_name_and_have_one_line_per_row_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(Column("id", no_wrap=True), "measured", box=None)
    table.add_row(LONG, "R@1 0.9\n[dim]0.8–1.0[/dim]")
    table.add_row("b", "word " * 60)
    print_result({}, False, Group("text " * 60, table))
    first, heading, *rows = capsys.readouterr().out.splitlines()
    assert (len(first.split()), heading.split()) == (60, ["id", "measured"])
    assert rows[0].split() == [LONG, "R@1", "0.9", "0.8–1.0"]
    assert len(rows) == 2 and len(rows[1].split()) == 61


def test_on_a_terminal_names_are_not_cut_and_other_cells_wrap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(Column("id", no_wrap=True), "measured", box=None)
    table.add_row(LONG, "word " * 10)
    print_result({}, False, table)
    lines = capsys.readouterr().out.splitlines()
    assert any(LONG in line for line in lines) and len(lines) > 2


def jobs_of(settings: Settings, source: str) -> None:
    JobRecord(settings.jobs_folder, IndexRequest([source]), "net-1").end("done")


@pytest.mark.slow
def test_what_the_output_can_not_encode_is_escaped(settings: Settings) -> None:
    jobs_of(settings, "/photos/tulpe-ü-花")
    listed = subprocess.run(
        [sys.executable, "-m", "lookalike", "jobs", "list"],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LOOKALIKE_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "/photos/tulpe-\\xfc-\\u82b1" in listed.stdout


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
def test_a_full_or_closed_output_ends_with_at_most_a_sentence(settings: Settings) -> None:
    jobs_of(settings, "/photos")
    environment = os.environ | {"LOOKALIKE_HOME": str(settings.home)}
    command = f"{sys.executable} -m lookalike jobs list"
    for output, said in (
        (">/dev/full", "The output can't be written (No space left on device).\n"),
        (">&-", ""),
        ("2>/dev/full | true", ""),
        ("--json | true", ""),
    ):
        done = subprocess.run(
            f"{command} {output}", shell=True, check=False, env=environment, capture_output=True, text=True
        )
        assert done.stderr == said, output
