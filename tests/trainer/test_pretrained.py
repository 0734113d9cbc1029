"""The recipe `pretrained`: a bundle of the part look alone, of photos with labels or without."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import onnxruntime
import pytest
from commands import Command

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.bundle import Bundle, load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError
from retrieval.explain import explain
from trainer.backbones import BACKBONES
from trainer.data import Dataset, load_dataset
from trainer.pretrained import PretrainedPlan, pretrained_bundle
from trainer.recipes import PRETRAINED

PLAN = PretrainedPlan(
    replace(BACKBONES["small_cnn"], has_weights=True), replace(PRETRAINED, dimension=24), "auto", ("dimension=24",)
)


def dataset_of(data: Path, **options: object) -> Dataset:
    return load_dataset(str(data), data.parent / "home", print, needs_labels=False, **options)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photos directly in a folder."""
    folder = tmp_path_factory.mktemp("unlabelled") / "photos"
    library = make.library(folder.parent / "library", per_label=20)
    folder.mkdir()
    for number, photo in enumerate(sorted(library.rglob("*.jpg"))):
        photo.rename(folder / f"{number:02}.jpg")
    return folder


@pytest.fixture(scope="module")
def bundle(photos: Path) -> Bundle:
    """The bundle of photos without labels."""
    said: list[str] = []
    made = pretrained_bundle(dataset_of(photos), PLAN, seed=0, out=photos.parent / "bundle", say=said.append)
    assert said == ["Exporting the network and measuring it …"]
    return load_bundle(made.folder)


def test_the_bundle_has_the_part_look_alone(bundle: Bundle, photos: Path) -> None:
    manifest = bundle.manifest
    assert [(part.name, part.length, part.weight) for part in manifest.parts] == [("look", 24, 1)]
    assert (manifest.recipe, manifest.changed, manifest.classes) == ("pretrained", ("dimension=24",), [])
    assert manifest.parity.min_cosine > 0.9999
    counts = manifest.training_data.counts
    assert sum(counts.values()) == 60 and min(counts.values()) >= 2
    with (bundle.folder / "photos.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 60
    assert not (photos.parent / "bundle.unfinished").exists()


def test_without_labels_only_copies_are_measured(bundle: Bundle) -> None:
    metrics = bundle.manifest.metrics
    for measured in (metrics.test, metrics.untrained.test):
        assert measured.recall_at_1 is None and measured.map_at_r is None and measured.per_class is None
        assert measured.copy_recall_at_10 >= measured.copy_recall_at_1 > 0
        assert measured.queries == bundle.manifest.training_data.counts["test"]
    assert metrics.shown_split == "test"
    assert json.loads((bundle.folder / "training" / "metrics.json").read_text()) == metrics.model_dump(mode="json")
    page = (bundle.folder / "training" / "report.html").read_text(encoding="utf-8")
    for text in ("no labels", "copy R@1", "lookalike train --data FOLDER", "distance 0."):
        assert text in page
    for text in ("MAP@R", "None", "✓"):
        assert text not in page


def test_the_embedding_is_fitted_to_the_photos(bundle: Bundle, photos: Path) -> None:
    """Its copies are nearer to their originals than those of random features are."""
    metrics = bundle.manifest.metrics
    assert metrics.val.copy_recall_at_1 >= metrics.untrained.val.copy_recall_at_1


@pytest.mark.slow
def test_the_same_seed_makes_the_same_file(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    again = pretrained_bundle(dataset_of(photos), PLAN, seed=0, out=tmp_path / "again", say=print)
    assert again.model_id == bundle.model_id


def test_regions_add_up_to_the_score(bundle: Bundle, photos: Path) -> None:
    session = onnxruntime.InferenceSession(bundle.network)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    embeddings, regions = session.run(["embeddings", "regions"], {"images": images, "explain": np.array(True)})
    np.testing.assert_allclose(regions.sum(axis=(1, 2)), embeddings, atol=1e-5)
    one, other = (photo.read_bytes() for photo in sorted(photos.iterdir())[:2])
    found = explain(Embedder(bundle, threads=1), PhotoDecoder(), one, other)
    assert found.query.contributions.sum() == pytest.approx(found.score, abs=1e-5)


@pytest.mark.slow
def test_labels_are_measured_and_do_not_change_the_network(colours: Path, tmp_path: Path) -> None:
    labelled = pretrained_bundle(dataset_of(colours), PLAN, seed=0, out=tmp_path / "labelled", say=print)
    metrics = labelled.manifest.metrics.test
    assert labelled.manifest.classes == ["blue", "green", "red"]
    assert set(metrics.per_class) == {"blue", "green", "red"}
    assert metrics.map_at_r > 0 and metrics.copy_recall_at_1 > 0
    assert "MAP@R" in (labelled.folder / "training" / "report.html").read_text(encoding="utf-8")


def test_few_photos_and_random_weights_are_told(photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for number in range(5):
        (few / f"{number}.jpg").write_bytes((photos / f"{number:02}.jpg").read_bytes())
    with pytest.raises(LookalikeError, match="too few photos for the recipe pretrained: it needs six"):
        pretrained_bundle(dataset_of(few), PLAN, seed=0, out=tmp_path / "bundle", say=print)
    plan = PretrainedPlan(BACKBONES["small_cnn"], PRETRAINED, "auto")
    with pytest.raises(LookalikeError, match="small_cnn has no pretrained weights"):
        pretrained_bundle(dataset_of(photos), plan, seed=0, out=tmp_path / "bundle", say=print)
    assert not (tmp_path / "bundle").exists()


def test_evaluate_measures_the_copies_of_photos_without_labels(
    lookalike: Command, bundle: Bundle, photos: Path, tmp_path: Path
) -> None:
    run = lookalike("evaluate", "--bundle", bundle.folder, "--data", photos, "--json", home=tmp_path)
    assert run.status == 0, run.err
    assert run.json["copy_recall_at_1"] == pytest.approx(bundle.manifest.metrics.test.copy_recall_at_1)
    assert "map_at_r" not in run.json and "per_class" not in run.json
    shown = lookalike("evaluate", "--bundle", bundle.folder, "--data", photos, home=tmp_path)
    assert "copy R@1" in shown.out and "–" in shown.out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--seeds", "2", "--resume"), "trains nothing: --seeds, --resume can't be used"),
        (("--quantize", "int8"), "trains nothing: --quantize can't be used"),
        (("--epochs", "3"), "there is no 'epochs' to set"),
        (("--label-from", "manifest"), "is not a .csv, .jsonl or .parquet manifest"),
        (("--recipe", "default"), "The photos of photos have no labels"),
        (("--recipe", "default", "--label-from", "none"), "The photos of photos have no labels"),
        (("--backbone", "small_cnn"), "small_cnn has no pretrained weights"),
    ],
)
def test_bad_options_are_told(
    lookalike: Command, photos: Path, options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    run = lookalike(
        "train",
        "--data",
        "photos",
        "--out",
        tmp_path / "bundle",
        "--recipe",
        "pretrained",
        *options,
        home=photos.parent,
    )
    assert run.status == 1
    assert complaint in run.err
    assert "--recipe pretrained" in run.err or "no labels" not in run.err


def test_the_recipe_is_listed_with_its_settings(lookalike: Command, tmp_path: Path) -> None:
    (shown,) = lookalike("recipes", "pretrained", "--json", home=tmp_path).json["recipes"]
    assert shown["settings"]["dimension"] == "160" and "preparation.size" in shown["settings"]
    assert "epochs" not in shown["settings"]
    assert "pretrained" in lookalike("recipes", home=tmp_path).out


def test_embeddings_of_photos_without_labels_have_no_class_metrics() -> None:
    embeddings = np.eye(4, dtype=np.float32)
    found = evaluate_embeddings(embeddings, np.array([""] * 4), copies=embeddings)
    assert found.overall == {"copy_recall_at_1": 1.0, "copy_recall_at_10": 1.0}
    assert found.metrics().per_class is None
