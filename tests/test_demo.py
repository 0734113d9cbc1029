"""The demo goes the whole way with commands that a user could type."""

import subprocess
import sys
from pathlib import Path

import make
import pytest
from commands import Command
from waiting import free_port

from lookalike import demo
from retrieval.current_model import open_searcher
from retrieval.index import open_store
from retrieval.settings import Settings
from trainer import datasets

SHORT = ("--epochs", "2", "--set", "steps_per_epoch=20")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_ends_with_an_index_that_answers(
    settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the digits, which need no download: trained, evaluated, indexed, cross-checked.

    The training is shortened to two epochs.
    """
    run = demo._run
    monkeypatch.setattr(demo, "_run", lambda *words: run(*words, *(SHORT if words[0] == "train" else ())))
    finished = command("demo", "--data", "digits", "--no-serve", "--json")
    assert finished.status == 0, finished.err
    result = finished.json
    assert result["index"]["seen"] == result["index"]["indexed"] == 1797
    assert result["crosscheck"]["recall_at_k"] == 1
    assert result["evaluation"]["recall_at_1"] > 0.9
    typed = [line for line in finished.err.splitlines() if line.startswith("$ lookalike ")]
    assert [line.split()[2] for line in typed] == ["train", "evaluate", "index", "models", "crosscheck"]
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        assert searcher.index.count() == 1797
        assert sorted(searcher.index.labels()) == [str(digit) for digit in range(10)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_photos_in_folders_of_years_are_indexed_with_a_pretrained_network(settings: Settings, tmp_path: Path) -> None:
    library = make.library(tmp_path / "photos", 12)
    for label, year in zip(make.COLOURS, ("2019", "2020", "2021"), strict=True):
        (library / label).rename(library / year)
    command = [sys.executable, "-m", "lookalike", "demo", "--data", str(library), "--no-serve"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    typed = [line for line in finished.stderr.splitlines() if line.startswith("$ lookalike ")]
    assert [line.split()[2] for line in typed] == ["train", "index", "models", "crosscheck"]
    assert "--recipe pretrained --label-from none" in typed[0] and "--label-from none" in typed[1]
    assert "has no labels" in finished.stderr
    assert "Labels would teach it kinds." in finished.stdout
    assert f"lookalike index {library} --bundle my-model" in finished.stdout
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        assert (searcher.index.count(), searcher.index.labels()) == (36, {})
        assert searcher.parts.has("look") and not searcher.parts.has("kind")


def test_where_the_flowers_can_not_be_had_it_says_so_and_takes_the_digits(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow_datasets", exc_type=ImportError)
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(datasets, "TFDS_HOST", f"http://127.0.0.1:{free_port()}/")  # which refuses
    data, photos, why = demo._choose(None, settings)
    assert (data, len(list(photos.glob("*/*.png")))) == ("digits", 1797)
    assert why == "The data set tf_flowers can't be downloaded: its host does not respond."
    told = capsys.readouterr().err
    assert told.startswith(why)
    assert "uses scikit-learn's scanned digits instead" in told
    assert demo._choose(None, settings)[:2] == (data, photos), "the next time, too"
