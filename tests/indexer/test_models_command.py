"""`lookalike models`: what is there, and which model serves."""

import json
import shutil
from pathlib import Path

import make
import pytest

from retrieval.bundle import Bundle
from retrieval.index import open_store
from retrieval.settings import Settings


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    return make.bundle(tmp_path / "other", dimension=8, seed=1)


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
    assert bundle.model_id in command("models", "list").out


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
    assert f"R@1 0.812, MAP@R 0.457 ({split})" in listed


def test_activate_and_rollback(command, two_models, settings: Settings, bundle: Bundle, other: Bundle) -> None:
    called = command("models", "activate", other.model_id, "--json")
    assert called.status == 0
    assert called.json["crosscheck"]["passed"]
    assert by_id(command("models", "list", "--json"))[bundle.model_id]["previous"]
    assert command("models", "rollback", "--json").json == {"current": bundle.model_id}
    assert open_store(settings).current() == bundle.model_id


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
    assert "No model served before" in called.err


def test_a_missing_bundle_is_a_note_in_the_list(command, two_models, settings: Settings, other: Bundle) -> None:
    shutil.rmtree(settings.models_folder / other.model_id)
    assert "not installed" in by_id(command("models", "list", "--json"))[other.model_id]["problem"]
