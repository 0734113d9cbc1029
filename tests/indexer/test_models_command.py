"""`lookalike models`: what is there, and which model serves."""

import json
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest

from indexer.index_evaluation import evaluate
from indexer.model_registry import activate
from retrieval.bundle import Bundle
from retrieval.errors import NotComparable
from retrieval.index import open_store
from retrieval.ranking_metrics import map_at_r, recall_at_k
from retrieval.settings import Settings


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    return make.bundle(tmp_path / "other", dimension=8, seed=1, precision="int8")


@pytest.fixture
def two_models(command, bundle: Bundle, other: Bundle, library: Path) -> None:
    """The first one serves; both have their photos indexed."""
    for made in (bundle, other):
        assert command("index", library, "--bundle", made.folder).status == 0


def by_id(called) -> dict[str, dict[str, object]]:
    return {model["id"]: model for model in called.json["models"]}


def test_without_models_the_list_is_empty(command) -> None:
    assert command("models", "list", "--json").json == {"models": []}
    assert "lookalike train" in command("models", "list").out


def test_the_list_tells_what_each_model_is(command, two_models, bundle: Bundle, other: Bundle) -> None:
    listed = by_id(command("models", "list", "--json"))
    first = listed[bundle.model_id]
    assert (first["backbone"], first["recipe"], first["dimension"]) == ("thumbnail", "none", 16)
    assert (first["points"], first["current"], first["previous"]) == (24, True, False)
    second = listed[other.model_id]
    assert (second["dimension"], second["points"], second["current"]) == (8, 24, False)
    assert (first["precision"], second["precision"]) == ("float32", "int8")
    rows = {line.split()[0]: line.split() for line in command("models", "list").out.splitlines()}
    assert "float32" in rows[bundle.model_id]
    assert "int8" in rows[other.model_id]


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_list_shows_what_training_measured(
    split: str, command, two_models, settings: Settings, bundle: Bundle
) -> None:
    description = settings.models_folder / bundle.model_id / "bundle.json"
    figures = {"recall_at_1": 0.8125, "recall_at_5": 0.9, "map_at_r": 0.4567}
    untrained = dict.fromkeys(figures, 0.1)
    metrics = {split: figures, "untrained": {split: untrained}}
    description.write_text(json.dumps(json.loads(description.read_text()) | {"metrics": metrics}))
    listed = " ".join(command("models", "list").out.split())
    assert f"R@1 0.812, MAP@R 0.457, copy R@1 –, copy R@10 – ({split})" in listed
    assert "untrained: R@1 0.100, MAP@R 0.100, copy R@1 –, copy R@10 –" in listed


def test_activate_and_rollback(command, two_models, settings: Settings, bundle: Bundle, other: Bundle) -> None:
    called = command("models", "activate", other.model_id, "--json")
    assert called.status == 0
    assert called.json["crosscheck"]["passed"]
    assert by_id(command("models", "list", "--json"))[bundle.model_id]["previous"]
    assert command("models", "rollback", "--json").json == {"current": bundle.model_id}
    assert open_store(settings).current() == bundle.model_id


def test_an_old_model_and_a_new_one_are_compared_by_what_both_have(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    old = {"recall_at_1": 0.8125, "map_at_r": 0.4567}
    new = {"recall_at_1": 0.9, "map_at_r": 0.5, "copy_recall_at_1": 0.75, "copy_recall_at_10": 0.875}
    for model, metrics in ((bundle, old), (other, new)):
        description = settings.models_folder / model.model_id / "bundle.json"
        description.write_text(json.dumps(json.loads(description.read_text()) | {"metrics": {"test": metrics}}))
    expected = (
        f"{bundle.model_id}: R@1 0.812, MAP@R 0.457, copy R@1 –, copy R@10 – (test)",
        f"{other.model_id}: R@1 0.900, MAP@R 0.500, copy R@1 0.750, copy R@10 0.875 (test)",
    )
    for words in (("activate", other.model_id, "--max-loss", 1), ("rollback",)):
        shown = " ".join(command("models", *words).out.split())
        assert all(line in shown for line in expected)
    shutil.rmtree(settings.models_folder / other.model_id)
    command("models", "activate", bundle.model_id)
    assert command("models", "list").status == 0


def test_the_model_of_the_setting_is_named_as_the_one_in_use(
    command, two_models, bundle: Bundle, other: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_BUNDLE", str(bundle.folder))
    used = f"use {bundle.model_id}, since LOOKALIKE_BUNDLE names it"
    assert used not in command("models", "list").err
    assert used in command("models", "activate", other.model_id, "--max-loss", 1).err
    assert used in command("models", "list").err
    assert used not in command("models", "rollback").err


def test_a_model_without_photos_is_not_activated(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    with open_store(settings).open(other.model_id, other.dimension) as index:
        index.delete([point.id for point in index.scroll()])
    called = command("models", "activate", other.model_id)
    assert called.status == 1
    assert "holds no photos" in called.err
    assert open_store(settings).current() == bundle.model_id


def test_remove_frees_index_and_bundle(command, two_models, settings: Settings, bundle: Bundle, other: Bundle) -> None:
    assert command("models", "remove", other.model_id).status == 0
    assert list(by_id(command("models", "list", "--json"))) == [bundle.model_id]
    assert not (settings.index_folder / other.model_id).exists()
    assert not (settings.models_folder / other.model_id).exists()


def test_the_model_that_serves_is_not_removed(command, two_models, bundle: Bundle) -> None:
    called = command("models", "remove", bundle.model_id)
    assert called.status == 1
    assert "Activate another one first" in called.err


def test_an_index_in_use_is_not_removed_even_where_its_bundle_is_gone(
    command, two_models, settings: Settings, other: Bundle
) -> None:
    shutil.rmtree(settings.models_folder / other.model_id)
    with open_store(settings).open(other.model_id, other.dimension):
        called = command("models", "remove", other.model_id)
    assert called.status == 1
    assert "is held by another process" in called.err
    assert other.model_id in open_store(settings).models()


def test_there_is_no_way_back_to_a_model_whose_bundle_is_gone(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    command("models", "activate", other.model_id)
    shutil.rmtree(settings.models_folder / bundle.model_id)
    called = command("models", "rollback")
    assert called.status == 1
    assert "is not a model bundle" in called.err
    assert open_store(settings).current() == other.model_id


@pytest.mark.parametrize("action", ["activate", "remove"])
def test_an_unknown_model_is_named(action: str, command) -> None:
    called = command("models", action, "nothing-0123")
    assert called.status == 1
    assert "nothing-0123" in called.err


def test_there_is_nothing_to_roll_back_to(command) -> None:
    called = command("models", "rollback")
    assert called.status == 1
    assert "There is no previous model" in called.err


def test_a_missing_bundle_is_a_note_in_the_list(command, two_models, settings: Settings, other: Bundle) -> None:
    shutil.rmtree(settings.models_folder / other.model_id)
    assert "not installed" in by_id(command("models", "list", "--json"))[other.model_id]["problem"]


def test_activation_shows_both_models_on_the_same_photos(command, two_models, bundle: Bundle, other: Bundle) -> None:
    done = command("models", "activate", other.model_id, "--max-loss", 1, "--json").json
    assert (done["evaluation"]["model"], done["before"]["model"]) == (other.model_id, bundle.model_id)
    assert done["evaluation"]["photos"] == done["before"]["photos"] == done["evaluation"]["queries"] == 24
    assert 0 < done["evaluation"]["map_at_r"] <= done["evaluation"]["recall_at_1"] <= 1
    assert "R@1" in command("models", "activate", bundle.model_id, "--max-loss", 1).out


def test_a_model_that_finds_less_is_not_activated_unless_that_is_allowed(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    with open_store(settings).open(other.model_id, other.dimension) as index:
        points = list(index.scroll())
        vectors = np.random.default_rng(0).normal(size=(len(points), other.dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        index.upsert([replace(point, vector=vector) for point, vector in zip(points, vectors, strict=True)])
    called = command("models", "activate", other.model_id)
    assert called.status == 1
    assert "its MAP@R on 24 photos is" in called.err
    assert open_store(settings).current() == bundle.model_id
    assert command("models", "activate", other.model_id, "--max-loss", 1).status == 0
    assert open_store(settings).current() == other.model_id


def test_the_evaluation_is_that_of_the_metrics(settings: Settings, bundle: Bundle, library: Path, command) -> None:
    command("index", library, "--bundle", bundle.folder)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        (measured,) = evaluate(index)
        points = list(index.scroll())
    labels = np.array([point.payload.label for point in points])
    vectors = np.stack([point.vector for point in points])
    ranked = np.argsort(-(vectors @ vectors.T - 2 * np.eye(24)), axis=1)[:, :23]
    relevant = labels[ranked] == labels[:, None]
    assert measured.recall_at_1 == pytest.approx(recall_at_k(relevant, 1).mean(), abs=1e-4)
    assert measured.map_at_r == pytest.approx(map_at_r(relevant, np.full(24, 7)).mean(), abs=1e-4)


def test_a_photo_that_is_removed_while_models_are_compared_takes_no_part(
    settings: Settings, bundle: Bundle, library: Path, command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("index", library, "--bundle", bundle.folder)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:

        def vectors_after_a_removal(ids: list[uuid.UUID]) -> dict[uuid.UUID, np.ndarray]:
            index.delete(ids[:1])
            return vectors(ids)

        vectors = index.vectors
        monkeypatch.setattr(index, "vectors", vectors_after_a_removal)
        (measured,) = evaluate(index)
    assert measured.photos == 23


def test_without_labels_only_the_cross_check_decides(command, bundle: Bundle, other: Bundle, library: Path) -> None:
    for made in (bundle, other):
        command("index", library, "--bundle", made.folder, "--label-from", "none")
    done = command("models", "activate", other.model_id, "--json").json
    assert (done["current"], done["evaluation"], done["before"]) == (other.model_id, None, None)


def test_a_model_that_can_not_be_compared_is_activated_only_if_any_loss_is_allowed(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension):
        called = command("models", "activate", other.model_id)
        assert called.status == 1
        assert f"can't be compared with {bundle.model_id}. The index" in called.err
        assert "--max-loss 1" in called.err
        assert store.current() == bundle.model_id
        done = command("models", "activate", other.model_id, "--max-loss", 1, "--json").json
        assert (done["evaluation"]["model"], done["before"]) == (other.model_id, None)
        command("models", "rollback")
        assert "not compared" in command("models", "activate", other.model_id, "--max-loss", 1).out
        command("models", "rollback")
        assert activate(settings, store, other.model_id, max_loss=1).before.model == bundle.model_id


def test_a_model_is_not_activated_if_the_bundle_of_the_current_one_is_damaged(
    command, two_models, settings: Settings, bundle: Bundle, other: Bundle
) -> None:
    (settings.models_folder / bundle.model_id / "embedder.onnx").write_bytes(b"damaged")
    called = command("models", "activate", other.model_id)
    assert called.status == 1
    assert f"can't be compared with {bundle.model_id}" in called.err
    with open_store(settings) as store, pytest.raises(NotComparable, match="--max-loss 1"):
        activate(settings, store, other.model_id)
    assert command("models", "activate", other.model_id, "--max-loss", 1).status == 0


def test_removing_a_model_frees_its_space(command, two_models, settings: Settings, other: Bundle) -> None:
    folders = [settings.models_folder / other.model_id, settings.index_folder / other.model_id]
    assert all(folder.exists() for folder in folders)
    command("models", "remove", other.model_id)
    assert not any(folder.exists() for folder in folders)
