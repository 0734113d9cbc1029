"""The commands as a user calls them."""

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import make
import pytest
from commands import Command

from retrieval.bundle import load_bundle
from retrieval.errors import LookalikeError
from retrieval.metrics import ALL_METRICS
from trainer.schedules import Timetable
from trainer.tensorboard import TensorBoardLog

CLASSES = ("blue", "green", "red", "scarlet")


@pytest.mark.slow
def test_train_writes_a_bundle(trained: tuple[Path, dict[str, object]]) -> None:
    home, printed = trained
    bundle = load_bundle(home / "bundle")
    manifest = bundle.manifest
    assert printed["model_id"] == bundle.model_id
    assert (manifest.backbone, manifest.recipe, manifest.dimension) == ("small_cnn", "default", 8 + 128)
    assert manifest.classes == ["blue", "green", "red"]
    counts = manifest.training_data.counts
    assert sum(counts.values()) == 36 and min(counts["val"], counts["test"]) >= 6
    assert manifest.parity.photos == counts["val"]
    assert [(part.name, part.length, part.weight) for part in manifest.parts] == [("kind", 8, 0.4), ("look", 128, 0.6)]
    assert manifest.changed == ("loss.margin=0.9", "steps_per_epoch=5", "dimension=8", "epochs=1")
    assert manifest.calibration_data is None  # so few photos tell nothing
    assert manifest.metrics.test.recall_at_1 >= 0.5
    assert set(manifest.metrics.test.by_look) == {"0", "0.25", "0.5", "0.75", "1"}
    assert manifest.metrics.test.copy_recall_at_10 >= manifest.metrics.test.copy_recall_at_1 > 0
    assert manifest.metrics.untrained.test.copy_recall_at_1 > 0
    assert manifest.metrics.untrained.test.map_at_r > 0
    made = {path.name for path in (home / "bundle" / "training").iterdir()}
    assert made == {"embedder.weights.h5", "history.csv", "metrics.json", "report.html"}


@pytest.mark.slow
def test_the_bundle_records_content_and_split_of_each_photo(trained: tuple[Path, dict[str, object]]) -> None:
    home, _ = trained
    bundle = load_bundle(home / "bundle")
    with (bundle.folder / "photos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    contents = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in (home / "colours").rglob("[0-9]*.jpg")]
    assert [row["sha256"] for row in rows] == sorted(contents)
    assert Counter(row["split"] for row in rows) == bundle.manifest.training_data.counts
    assert set(bundle.manifest.files) == {"photos.csv"}


@pytest.mark.slow
def test_every_seed_is_recorded_and_the_best_on_the_validation_split_is_kept(
    trained: tuple[Path, dict[str, object]],
) -> None:
    home, printed = trained
    metrics = json.loads((home / "bundle" / "training" / "metrics.json").read_text())
    seeds = metrics["seeds"]
    assert seeds == printed["metrics"]["seeds"]
    assert [run["seed"] for run in seeds["runs"]] == [0, 1]
    best = max(seeds["runs"], key=lambda run: run["val"]["map_at_r"])
    assert seeds["kept"] == best["seed"]
    assert best["test"] == {name: metrics["test"][name] for name in best["test"]}
    values = [run["test"]["map_at_r"] for run in seeds["runs"]]
    assert seeds["mean"]["test"]["map_at_r"] == pytest.approx(sum(values) / 2)
    assert seeds["spread"]["test"]["map_at_r"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert load_bundle(home / "bundle").manifest.seed == 0  # of the splits, which are the same for every seed


@pytest.mark.parametrize("option", [("--seeds", "0"), ("--seeds", "many"), ("--seed", "-1")])
def test_invalid_seeds_are_usage_errors(lookalike: Command, option: tuple[str, str], tmp_path: Path) -> None:
    run = lookalike("train", "--data", "colours", "--out", "bundle", *option, home=tmp_path)
    assert run.status == 2


@pytest.mark.slow
def test_evaluate_computes_the_metrics_of_the_training(
    lookalike: Command, trained: tuple[Path, dict[str, object]]
) -> None:
    home, printed = trained
    run = lookalike("evaluate", "--bundle", "bundle", "--data", "colours", "--json", home=home)
    assert run.status == 0, run.err
    found = run.json
    for metric in ALL_METRICS:
        assert found[metric] == pytest.approx(printed["metrics"]["test"][metric], abs=1e-6)
    assert set(found["per_class"]) == {"blue", "green", "red"}
    for metric, (low, high) in found["intervals"].items():
        assert low <= found[metric] <= high
    assert found["untrained"] == printed["metrics"]["untrained"]["test"]


@pytest.mark.slow
def test_evaluate_shows_a_table_with_intervals(lookalike: Command, trained: tuple[Path, dict[str, object]]) -> None:
    home, printed = trained
    run = lookalike("evaluate", "--bundle", "bundle", "--data", "colours", home=home)
    low, high = printed["metrics"]["test"]["intervals"]["map_at_r"]
    for text in ("MAP@R", "untrained", "green", "7 queries", f"{low:.2f}–{high:.2f}"):
        assert text in run.out


@pytest.mark.slow
def test_evaluate_needs_no_tensorflow(trained: tuple[Path, dict[str, object]]) -> None:
    home, _ = trained
    script = (
        "import sys; from trainer.cli import evaluate; from pathlib import Path\n"
        "evaluate(Path('bundle'), 'colours')\n"
        "assert 'tensorflow' not in sys.modules"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([sys.executable, "-c", script], cwd=home, env=environment, check=True, capture_output=True)


@pytest.mark.slow
def test_other_data_has_no_metrics_of_the_untrained_backbone(
    lookalike: Command, trained: tuple[Path, dict[str, object]], colours: Path, tmp_path: Path
) -> None:
    (colours / "green" / "0.jpg").unlink()
    run = lookalike("evaluate", "--bundle", trained[0] / "bundle", "--data", colours, "--json", home=tmp_path)
    assert run.json["untrained"] is None
    assert "untrained backbone" in run.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--data", "empty"), "contains no photos"),
        (("--data", "colours", "--backbone", "vgg99"), "no backbone 'vgg99'"),
        (("--data", "colours", "--recipe", "soup"), "no recipe 'soup'"),
        (("--data", "colours", "--set", "loss.margin=wide"), "--set loss.margin=wide: input should be a valid number"),
        (("--data", "colours", "--set", "loss.marge=1"), "there is no 'marge' to set"),
        (("--data", "colours", "--set", "preparation.size=4"), "accepts no photos of 4 px"),
        (("--data", "colours", "--splits", "missing.csv"), "missing.csv can't be read"),
        (("--data", "colours", "--out", "colours"), "is not a model bundle"),
        (("--data", "colours", "--unseen-class", "violet", "--unseen-class", "red"), "no class 'violet'"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(
    lookalike: Command, colours: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "empty").mkdir()
    options = ("--out", "other", "--backbone", "small_cnn", "--epochs", "1", "--json")
    run = lookalike("train", *options, *arguments, home=tmp_path)
    assert run.status == 1
    assert complaint in run.json["error"]
    assert complaint in run.err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("word", ["recipes", "backbones"])
def test_recipes_and_backbones_are_listed(lookalike: Command, word: str, tmp_path: Path) -> None:
    run = lookalike(word, "--json", home=tmp_path)
    names = [entry["name"] for entry in run.json[word]]
    assert {"recipes": "default", "backbones": "efficientnet_lite0"}[word] in names
    assert all(entry["description"] for entry in run.json[word])


def test_square_brackets_are_shown_as_they_are(
    lookalike: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert "lookalike[train]" in lookalike("backbones", home=tmp_path).out


def test_a_recipe_is_shown_with_its_settings(lookalike: Command, tmp_path: Path) -> None:
    (shown,) = lookalike("recipes", "notebook-bit", "--json", home=tmp_path).json["recipes"]
    assert shown["settings"]["schedule.factors"] == "1,0.1,0.001,0.0001"
    assert "batches are not balanced by class" in shown["faults"]
    text = lookalike("recipes", "notebook-bit", home=tmp_path).out
    assert "faults of the experiment" in text
    assert "--set schedule.factors=" in text


@pytest.mark.slow
def test_tensorboard_logs_contain_each_step_and_epoch(trained: tuple[Path, dict[str, object]]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - slow
    from tensorboard.util.tensor_util import make_ndarray  # noqa: PLC0415 - slow

    home, printed = trained
    for seed in (0, 1):
        log = EventAccumulator(str(home / "logs" / f"seed-{seed}"), {"tensors": 0}).Reload()
        assert {"loss/step", "learning rate/head", "learning rate/backbone", "validation/MAP@R"} <= set(
            log.Tags()["tensors"]
        )
        assert [event.step for event in log.Tensors("loss/step")] == list(range(5))
        (measured,) = log.Tensors("validation/MAP@R")
        (told,) = (run for run in printed["metrics"]["seeds"]["runs"] if run["seed"] == seed)
        assert float(make_ndarray(measured.tensor_proto)) == pytest.approx(told["val"]["map_at_r"], abs=1e-4)


def test_an_unwritable_log_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LookalikeError, match=r"TensorBoard logs can't be written to \S+/file/logs"):
        TensorBoardLog(
            tmp_path / "file" / "logs", {}, Timetable(head_steps=0, steps_per_epoch=1, epochs=1, epochs_per_round=1)
        )


@pytest.mark.slow
def test_embeddings_of_zeros_and_a_single_test_photo_have_a_bundle_and_a_report(
    lookalike: Command, tmp_path: Path
) -> None:
    make.library(tmp_path / "colours", per_label=8)
    parts = ["train"] * 5 + ["val"] * 3
    rows = [f"{label}/{number}.jpg,{label},{part}" for label in CLASSES[:3] for number, part in enumerate(parts)]
    rows[0] = rows[0].replace("train", "test")
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows]))
    options = ("--backbone", "small_cnn", "--recipe", "notebook-bit-frozen", "--epochs", "2", "--json")
    sizes = ("--set", "preparation.size=32", "--set", "preparation.train_size=32")
    run = lookalike(
        "train", "--data", "colours", "--splits", "split.csv", "--out", "bundle", *options, *sizes, home=tmp_path
    )
    assert run.status == 0, run.err
    assert run.err.count("loss 1.000 · validation loss 1.000") == 2
    assert "The split test has no photo of green, red." in run.err
    assert "faults of its experiment: photos are squashed without antialiasing; " in run.err
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.metrics.test.queries == 0
    assert bundle.resize.mode == "squash"
    page = (tmp_path / "bundle" / "training" / "report.html").read_text(encoding="utf-8")
    assert "Map of the val photos" in page
    assert "all embeddings are zero" in page
    assert "MixUp" not in page


@pytest.mark.slow
def test_unseen_classes_and_a_photo_in_two_splits(lookalike: Command, tmp_path: Path) -> None:
    colours = make.library(tmp_path / "colours", per_label=12)
    make.library(tmp_path / "more", per_label=12, labels=("red",)).joinpath("red").rename(colours / "scarlet")
    (colours / "blue" / "copy.jpg").write_bytes((colours / "blue" / "0.jpg").read_bytes())
    parts = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    rows = [f"{label}/{number}.jpg,{label},{part}" for label in CLASSES for number, part in enumerate(parts)]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows, "blue/copy.jpg,blue,val"]))
    data = ("--data", "colours", "--splits", "split.csv", "--unseen-class", "red", "--unseen-class", "scarlet")
    options = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--set", "steps_per_epoch=5", "--json")

    trained = lookalike("train", *data, *options, "--out", "bundle", home=tmp_path)
    assert trained.status == 0, trained.err
    metrics = json.loads((tmp_path / "bundle" / "training" / "metrics.json").read_text())
    assert set(metrics["test"]["per_class"]) == {"red", "scarlet"}
    assert set(metrics["val"]["per_class"]) == {"blue", "green"}
    (pair,) = [one for one in metrics["duplicates"] if one["identical"] and one["photo"]["split"] == "val"]
    assert pair["photo"]["path"].endswith("blue/copy.jpg")
    assert pair["original"]["path"].endswith("blue/0.jpg")
    assert "blue/copy.jpg = train" in trained.err
    page = (tmp_path / "bundle" / "training" / "report.html").read_text(encoding="utf-8")
    assert "not used for training: red, scarlet" in page
    assert "identical files" in page

    evaluated = lookalike("evaluate", "--bundle", "bundle", *data, "--json", home=tmp_path).json
    assert evaluated["map_at_r"] == pytest.approx(metrics["test"]["map_at_r"], abs=1e-6)
    assert evaluated["untrained"] == metrics["untrained"]["test"]
