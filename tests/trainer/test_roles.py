"""The columns `group`, `is_query` and `is_gallery` of a manifest."""

from pathlib import Path

import numpy as np
import pytest
from commands import Command

from retrieval.bundle import load_bundle
from retrieval.errors import BadSource
from retrieval.photo_ref import PhotoRef
from trainer.data import check_trainable, labels_of, load_dataset
from trainer.roles import roles_of


def photo(name: str, **extra: str | int | bool) -> PhotoRef:
    return PhotoRef(f"file:///{name}.jpg", "a", extra=extra)


def manifest(folder: Path, per_label: int = 12) -> Path:
    """A manifest of the photos in folders per class: groups of two, the even photos in the gallery, the odd queries."""
    rows = ["path,label,group,is_query,is_gallery"]
    for label in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        rows += [
            f"{label}/{number}.jpg,{label},{label} {number % 6},{number % 2 == 1},{number % 2 == 0}"
            for number in range(per_label)
        ]
    listed = folder / "photos.csv"
    listed.write_text("\n".join(rows))
    return listed


def test_roles_are_read_from_text_numbers_and_booleans() -> None:
    photos = [
        photo("a", is_query="True", is_gallery="0", group="x"),
        photo("b", is_query="False", is_gallery="1.0", group=3),
        photo("c", is_query=True, group="3"),
        photo("d"),
    ]
    roles = roles_of(photos)
    assert roles.queries is not None and roles.queries.tolist() == [0, 2]
    assert roles.gallery is not None and roles.gallery.tolist() == [1]
    assert roles.groups is not None and len(np.unique(roles.groups)) == 3
    assert roles.groups[1] == roles.groups[2]
    plain = roles_of(photos[3:])
    assert plain.queries is None and plain.gallery is None and plain.groups is None


def test_a_flag_that_is_neither_true_nor_false_is_refused(colours: Path, tmp_path: Path) -> None:
    (colours / "list.csv").write_text("path,label,is_query\nred/0.jpg,red,maybe\ngreen/0.jpg,green,true")
    with pytest.raises(BadSource, match=r"is_query of .*0\.jpg is 'maybe'\."):
        load_dataset(str(colours / "list.csv"), tmp_path, print)


def test_groups_are_not_split_unless_the_manifest_does(colours: Path, tmp_path: Path) -> None:
    said: list[str] = []
    dataset = load_dataset(str(manifest(colours)), tmp_path, said.append)
    assert not said
    assert set(dataset.counts) == {"train", "val", "test"}
    of_group: dict[object, set[str | None]] = {}
    for one in dataset.photos:
        of_group.setdefault(one.extra["group"], set()).add(one.split)
    assert {len(splits) for splits in of_group.values()} == {1}
    rows = (f"red/{number}.jpg,red,{number % 2},{('train', 'val', 'test')[number % 3]}" for number in range(12))
    (colours / "given.csv").write_text("\n".join(["path,label,group,split", *rows, "blue/0.jpg,blue,,train"]))
    load_dataset(str(colours / "given.csv"), tmp_path, said.append)
    assert said == ["Metrics are inflated: groups with photos in several splits: 0, 1."]


def test_validation_needs_a_query_with_a_match(colours: Path, tmp_path: Path) -> None:
    listed = manifest(colours)
    listed.write_text(listed.read_text().replace("True,False", "False,True"))
    dataset = load_dataset(str(listed), tmp_path, print)
    with pytest.raises(BadSource.__base__, match="too few photos to validate on"):
        check_trainable(dataset, print)


@pytest.mark.slow
def test_evaluate_searches_the_gallery_for_the_queries(
    lookalike: Command, trained: tuple[Path, dict[str, object]], tmp_path: Path, colours: Path
) -> None:
    home, _ = trained
    words = ("evaluate", "--bundle", home / "bundle", "--data", manifest(colours), "--split", "train", "--json")
    run = lookalike(*words, home=tmp_path)
    assert run.status == 0, run.err
    dataset = load_dataset(str(colours / "photos.csv"), tmp_path, print, seed=0)
    assert 0 < run.json["queries"] < len(dataset.split("train")) / 2 + 1
    assert set(run.json["by_look"]) == {"0", "0.25", "0.5", "0.75", "1"}


@pytest.mark.slow
def test_training_validates_and_tests_with_the_queries(lookalike: Command, tmp_path: Path, colours: Path) -> None:
    words = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--set", "steps_per_epoch=2")
    run = lookalike("train", "--data", manifest(colours), "--out", "bundle", *words, home=tmp_path)
    assert run.status == 0, run.err
    dataset = load_dataset(str(colours / "photos.csv"), tmp_path, print)
    metrics = load_bundle(tmp_path / "bundle").manifest.metrics
    for split in ("val", "test"):
        photos = dataset.split(split)
        roles, measured, untrained = roles_of(photos), metrics.of(split), metrics.untrained.of(split)
        assert roles.queries is not None
        queries = int((roles.matches(labels_of(photos))[roles.queries] > 0).sum())
        assert measured.queries == untrained.queries == queries < len(photos)
