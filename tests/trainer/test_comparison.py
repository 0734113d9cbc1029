"""`lookalike compare`, as a user runs it."""

import json
import shutil
from pathlib import Path

import make
import pytest
from commands import Command
from PIL import Image


@pytest.fixture
def home(trained: tuple[Path, dict[str, object]], tmp_path: Path) -> Path:
    """A folder with two bundles: the trained one, and a copy in int8, measured on other photos, untrained unknown."""
    shutil.copytree(trained[0] / "bundle", tmp_path / "first")
    shutil.copytree(trained[0] / "bundle", tmp_path / "second <b>")
    manifest = tmp_path / "second <b>" / "bundle.json"
    content = json.loads(manifest.read_text())
    content["training_data"]["digest"], content["precision"] = "0" * 64, "int8"
    for name in ("untrained", "training", "seeds"):
        del content["metrics"][name]
    manifest.write_text(json.dumps(content))
    return tmp_path


@pytest.mark.slow
def test_one_table_of_several_bundles(lookalike: Command, trained: tuple[Path, dict[str, object]], home: Path) -> None:
    run = lookalike("compare", "first", "second <b>", "--json", home=home)
    first, second = run.json["bundles"]
    figures = trained[1]["metrics"]["test"]
    assert (first["bundle"], second["bundle"]) == ("first", "second <b>")
    assert (first["backbone"], first["recipe"], first["dimension"]) == ("small_cnn", "default", 8 + 128)
    assert (first["precision"], second["precision"]) == ("float32", "int8")
    assert first["map_at_r"] == second["map_at_r"] == figures["map_at_r"]
    assert first["intervals"] == figures["intervals"]
    assert first["seeds"]["count"] == 2
    assert first["bytes"] == (home / "first" / "embedder.onnx").stat().st_size
    assert first["parameters"] > 100_000
    assert first["seconds"] > 0
    assert second["untrained"] is second["seconds"] is second["seeds"] is None
    assert "different photos" in run.err


@pytest.mark.slow
def test_the_table_for_people(lookalike: Command, home: Path) -> None:
    run = lookalike("compare", "first", "second <b>", home=home)
    for text in ("second <b>", "MAP@R", "mean of 2 seeds", "untrained", "–", "in float32", "in int8"):
        assert text in run.out
    assert "different photos" not in lookalike("compare", "first", "first", home=home).err


@pytest.mark.slow
def test_the_table_of_a_long_training_does_not_break_the_precision(lookalike: Command, home: Path) -> None:
    manifest = home / "first" / "bundle.json"
    content = json.loads(manifest.read_text())
    content["metrics"]["training"]["seconds"] = 123456.7
    manifest.write_text(json.dumps(content))
    assert "in float32" in lookalike("compare", "first", home=home).out


@pytest.mark.slow
def test_a_page_and_a_picture(lookalike: Command, home: Path) -> None:
    for name in ("page.html", "figure.svg", "figure.png"):
        assert lookalike("compare", "first", "second <b>", "--out", name, home=home).status == 0
    page = (home / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "second &lt;b&gt;" in page
    assert "<b>" not in page
    assert "can't be compared" in page
    assert "<svg" in (home / "figure.svg").read_text(encoding="utf-8")
    with Image.open(home / "figure.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("plain",), "plain has no metrics of the split 'test'"),
        (("first", "--split", "train"), "first has no metrics of the split 'train'"),
        (("first", "missing"), "missing is not a model bundle"),
        (("first", "--out", "figure.docx"), "can't be written to figure.docx"),
        (("first", "--out", "nowhere/figure.png"), "nowhere/figure.png can't be used"),
    ],
)
def test_bad_input_is_one_sentence(lookalike: Command, home: Path, arguments: tuple[str, ...], complaint: str) -> None:
    make.bundle(home / "plain")
    run = lookalike("compare", *arguments, "--json", home=home)
    assert run.status == 1
    assert complaint in run.json["error"]


def test_comparing_nothing_is_wrong_usage(lookalike: Command, tmp_path: Path) -> None:
    assert lookalike("compare", home=tmp_path).status == 2
