"""`lookalike search PHOTO… --to FILE`: a search for each of many photos."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Command
from serving import fill_index

from retrieval.bundle import Bundle
from retrieval.index import open_store
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings


@pytest.fixture(autouse=True)
def indexed(settings: Settings, bundle: Bundle, library: Path) -> None:
    fill_index(settings, bundle, library)


def test_photos_and_folders_are_searched_for(command: Command, library: Path, tmp_path: Path) -> None:
    broken, target = tmp_path / "broken.jpg", tmp_path / "found.jsonl"
    broken.write_bytes(b"no photo")
    done = command("search", library / "red", library / "blue" / "1.jpg", broken, "-k", 3, "--to", target, "--json")
    assert done.status == 0, done.err
    assert (done.json["searched"], done.json["failed"]) == (10, 1)
    assert done.json["failures"][0]["uri"] == uri_of(broken) and "broken.jpg" in done.err
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [line["query"] for line in lines[-2:]] == [uri_of(library / "blue" / "1.jpg"), uri_of(broken)]
    assert lines[-1]["error"]
    for line in lines[:-1]:
        assert len(line["results"]) == 3
        assert line["results"][0]["uri"] == line["query"] and line["results"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_a_table_has_a_row_per_result(command: Command, library: Path, tmp_path: Path) -> None:
    target = tmp_path / "found.csv"
    assert command("search", library / "red" / "0.jpg", "-k", 2, "--to", target).status == 0
    rows = list(csv.DictReader(target.open(encoding="utf-8", newline="")))
    assert [(row["rank"], row["error"]) for row in rows] == [("1", ""), ("2", "")]
    assert rows[0]["uri"] == rows[0]["query"] == uri_of(library / "red" / "0.jpg")


def test_a_label_in_a_table_is_no_formula(
    command: Command, settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension) as index:
        index.replace_payloads({photo: replace(one, label="=1+1") for photo, one in index.scroll_payloads()})
    target = tmp_path / "found.csv"
    assert command("search", library / "red" / "0.jpg", "-k", 2, "--to", target).status == 0
    assert [row["label"] for row in csv.DictReader(target.open(encoding="utf-8", newline=""))] == ["'=1+1"] * 2


def test_if_no_photo_can_be_used_the_status_is_1(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    done = command("search", tmp_path / "broken.jpg", "--to", tmp_path / "found.jsonl")
    assert (done.status, "1 photo, 1 failed" in done.out) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["red", "blue"], "--to results.jsonl"),
        (["red"], "--to results.jsonl"),
        (["red", "--to", "found.txt"], "neither a .jsonl nor a .csv"),
        (["red", "--to", "nowhere/found.csv"], "can't be written"),
    ],
)
def test_what_is_missing_is_said(
    words: list[str], says: str, command: Command, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library)
    done = command("search", *words)
    assert done.status == 1
    assert says in done.err
