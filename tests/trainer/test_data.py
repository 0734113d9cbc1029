import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from make import COLOURS, encoded, photo

from retrieval.decoder import PhotoDecoder
from retrieval.errors import LookalikeError
from retrieval.listing_options import ListingOptions
from retrieval.source_policy import SourcePolicy
from trainer import data
from trainer.data import Dataset, check_trainable, labels_of, load_dataset
from trainer.datasets import locate
from trainer.splits import SPLITS


def draw(path: Path, label: str = "red", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(photo(label, seed)))


def load(data: str | Path, tmp_path: Path, **options: object) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    return load_dataset(str(data), tmp_path / "home", said.append, **options), said


def by_name(dataset: Dataset) -> dict[str, str | None]:
    return {f"{photo.label}/{photo.path.name}": photo.split for photo in dataset.photos}


def test_a_folder_per_class(colours: Path, tmp_path: Path) -> None:
    dataset, said = load(colours, tmp_path)
    assert dataset.classes == sorted(COLOURS)
    assert len(dataset.photos) == 36
    counts = Counter((photo.label, photo.split) for photo in dataset.photos)
    assert all(counts[label, split] >= 2 for label in COLOURS for split in SPLITS)
    assert said == []


def test_folders_of_splits_are_the_splits(tmp_path: Path) -> None:
    for split in ("train", "Validation", "test"):
        for label in ("green", "blue"):
            draw(tmp_path / "photos" / split / label / "1.jpg", label, seed=len(split))
    draw(tmp_path / "photos" / "cover.jpg")
    dataset, said = load(tmp_path / "photos", tmp_path)
    assert dataset.classes == ["blue", "green"]
    assert dataset.counts == {"train": 2, "val": 2, "test": 2}
    assert said[0] == "The folders Validation, test and train are used as splits, and the folders in them as labels."
    assert "not in the folder of a split: 1" in said[1]


def test_what_is_not_listed_is_no_class(colours: Path, tmp_path: Path) -> None:
    for name in ("@eaDir/1.jpg", ".thumbnails/2.jpg", "home/thumbnails/3.jpg", "old/4.jpg", "green/5.mov"):
        draw(colours / name)
    options = ListingOptions(exclude=("old/",))
    said: list[str] = []
    dataset = load_dataset(str(colours), colours / "home", said.append, options=options)
    assert dataset.classes == sorted(COLOURS)
    (text,) = said
    assert text.startswith("Skipped: 1 .mov, ")
    assert all(part in text for part in ("1 in @eaDir", "1 excluded by old/", "1 in Lookalike's folder home"))


def test_a_name_that_is_no_utf8_is_escaped(colours: Path, tmp_path: Path) -> None:
    odd = colours.rename(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    assert load_dataset(str(odd), tmp_path, print).name == f"{tmp_path}/caf\\xe9"


def test_splits_depend_on_the_seed_alone(colours: Path, tmp_path: Path) -> None:
    first, again, other = (load(colours, tmp_path, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert by_name(first) != by_name(other)
    assert first.digest != other.digest


def test_the_digest_depends_on_the_contents_not_on_the_folder(colours: Path, tmp_path: Path) -> None:
    before, _ = load(colours, tmp_path)
    after, _ = load(colours.rename(tmp_path / "moved"), tmp_path)
    assert before.digest == after.digest
    draw(tmp_path / "moved" / "green" / "0.jpg", "green", seed=99)
    assert load(tmp_path / "moved", tmp_path)[0].digest != before.digest


def test_a_manifest_with_its_own_splits(colours: Path, tmp_path: Path) -> None:
    rows = [f"green/{number}.jpg,leaf,{SPLITS[number % 3]}" for number in range(6)]
    rows += [f"blue/{number}.jpg,sky,{SPLITS[number % 3]}" for number in range(6)]
    (colours / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    dataset, _ = load(colours / "list.csv", tmp_path)
    assert dataset.classes == ["leaf", "sky"]
    assert by_name(dataset)["leaf/1.jpg"] == "val"


def test_a_splits_file_chooses_photos_and_splits(colours: Path, tmp_path: Path) -> None:
    rows = [f"{label}/{number}.jpg,{label},{SPLITS[number % 3]}" for label in COLOURS for number in range(6)]
    splits = tmp_path / "split.csv"
    splits.write_text("\n".join(["path,label,split", *rows, "green/gone.jpg,green,train"]))
    dataset, said = load(colours, tmp_path, splits=splits)
    assert said == [
        f"Photos left out because {splits} does not list them: 18.",
        f"Photos that {splits} lists but {colours} does not have: 1.",
    ]
    assert dataset.counts == {"train": 6, "val": 6, "test": 6}
    assert by_name(dataset)["green/2.jpg"] == "test"


def test_a_splits_file_finds_photos_behind_a_link(colours: Path, tmp_path: Path) -> None:
    (colours / "green").rename(tmp_path / "leaves")
    (colours / "green").symlink_to(tmp_path / "leaves")
    rows = [f"{label}/{number}.jpg,{label},{SPLITS[number % 3]}" for label in COLOURS for number in range(6)]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows]))
    dataset, _ = load(colours, tmp_path, splits=tmp_path / "split.csv")
    assert dataset.classes == sorted(COLOURS)


def unlabelled(colours: Path) -> Path:
    """The same photos, directly in a folder."""
    for number, path in enumerate(sorted(colours.rglob("*.jpg"))):
        path.rename(colours / f"{number}.jpg")
    return colours


def test_photos_without_labels_are_refused_unless_they_need_none(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(f"colours/{number}.jpg" for number in range(36)))
    for source in (unlabelled(colours), tmp_path / "list.csv"):
        with pytest.raises(LookalikeError, match=r"have no labels.*--recipe pretrained"):
            load(source, tmp_path)
        dataset, said = load(source, tmp_path, needs_labels=False)
        assert (dataset.classes, len(dataset.photos), said) == ([], 36, [])
        assert min(dataset.counts[split] for split in SPLITS) >= 2
        assert labels_of(dataset.photos).tolist() == [""] * 36


def test_labels_can_be_ignored(colours: Path, tmp_path: Path) -> None:
    dataset, _ = load(colours, tmp_path, needs_labels=False, label_from="none")
    assert (dataset.classes, len(dataset.photos)) == ([], 36)
    with pytest.raises(LookalikeError, match="have no labels"):
        load(colours, tmp_path, label_from="none")


def test_labels_of_one_class_are_ignored_if_none_are_needed(colours: Path, tmp_path: Path) -> None:
    draw(colours / "stray.jpg", seed=77)
    dataset, said = load(colours, tmp_path, needs_labels=False)
    assert (dataset.classes, len(dataset.photos)) == (sorted(COLOURS), 36)
    assert said[0].startswith("1 photo without a label left out.") and "--label-from none" in said[0]
    for label in ("blue", "green"):
        shutil.rmtree(colours / label)
    dataset, said = load(colours, tmp_path, needs_labels=False)
    assert (dataset.classes, len(dataset.photos), said) == ([], 13, [])


def test_many_photos_without_labels_are_sampled(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MOST_UNLABELLED", 20)
    folder = unlabelled(colours)
    first, said = load(folder, tmp_path, needs_labels=False)
    assert len(first.photos) == 20
    assert said == ["20 of 36 photos are used, drawn at random."]
    assert load(folder, tmp_path, needs_labels=False)[0] == first
    assert load(folder, tmp_path, needs_labels=False, seed=1)[0].photos != first.photos
    rows = [f"{number}.jpg,,{SPLITS[number % 3]}" for number in range(36)]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows]))
    assert len(load(folder, tmp_path, needs_labels=False, splits=tmp_path / "split.csv")[0].photos) == 36


def test_unseen_classes_are_tested_on_and_never_trained_on(colours: Path, tmp_path: Path) -> None:
    for number in range(12):
        draw(colours / "scarlet" / f"{number}.jpg", "red", 100 + number)
    seen, _ = load(colours, tmp_path)
    dataset, _ = load(colours, tmp_path, unseen=["red", "scarlet"])
    assert Counter(photo.label for photo in dataset.split("test")) == {"red": 12, "scarlet": 12}
    for split in ("train", "val"):
        assert {photo.label for photo in dataset.split(split)} == {"blue", "green"}
    assert dataset.unseen_classes == ["red", "scarlet"]
    assert seen.unseen_classes == []
    assert [photo for photo in seen.split("train") if photo.label in ("blue", "green")] == dataset.split("train")
    assert seen.digest != dataset.digest


@pytest.mark.parametrize(
    ("unseen", "complaint"),
    [
        (["red", "violet"], "no class 'violet'"),
        (["red"], "every test photo would be of one class"),
        (["red", "green"], "Fewer than two of the 3 classes"),
    ],
)
def test_invalid_unseen_classes(colours: Path, tmp_path: Path, unseen: list[str], complaint: str) -> None:
    with pytest.raises(LookalikeError, match=complaint):
        load(colours, tmp_path, unseen=unseen)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("path,label\ngreen/0.jpg,green\n", "path,label,split"),
        ("path,label,split\nelsewhere/0.jpg,green,train\n", "lists no photo"),
        ("path,label,split\ngreen/0.jpg,green,later\nblue/0.jpg,blue,train\n", "'later'"),
        ("path,label,split\ngreen/0.jpg,green,train\ngreen/0.jpg,green,test\n", "lists green/0.jpg twice"),
        ("path,label,split\ngreen/0.jpg,blue,train\n", "has two labels: 'green' in .*, 'blue' in"),
    ],
)
def test_an_invalid_splits_file(colours: Path, tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "split.csv").write_text(content)
    with pytest.raises(LookalikeError, match=complaint):
        load(colours, tmp_path, splits=tmp_path / "split.csv")


def test_unreadable_photos_are_left_out_and_reported(colours: Path, tmp_path: Path) -> None:
    (colours / "green" / "letter.jpg").write_text("Dear photo")
    (colours / "green" / "nothing.jpg").touch()
    whole = (colours / "green" / "0.jpg").read_bytes()
    (colours / "green" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    dataset, said = load(colours, tmp_path)
    assert len(dataset.photos) == 36
    assert len(said) == 3
    assert all(any(name in line for line in said) for name in ("letter.jpg", "nothing.jpg", "half.jpg"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_without_permission_is_left_out(colours: Path, tmp_path: Path) -> None:
    (colours / "green" / "0.jpg").chmod(0)
    dataset, said = load(colours, tmp_path)
    assert len(dataset.photos) == 35
    assert "0.jpg" in said[0]


def test_photos_outside_the_class_folders_have_no_label(colours: Path, tmp_path: Path) -> None:
    draw(colours / "stray.jpg")
    dataset, said = load(colours, tmp_path)
    assert len(dataset.photos) == 36
    assert said == ["1 photo without a label left out."]


def test_data_without_classes_to_train_on(tmp_path: Path) -> None:
    empty, unlabelled, lonely = tmp_path / "empty", tmp_path / "unlabelled", tmp_path / "lonely"
    empty.mkdir()
    for number in range(8):
        draw(unlabelled / f"{number}.jpg", seed=number)
        draw(lonely / "only" / f"{number}.jpg", seed=number)
    for folder, complaint in [
        (empty, "contains no photos"),
        (unlabelled, "have no labels"),
        (lonely, "fewer than two classes"),
        (tmp_path / "missing", "does not exist"),
    ]:
        with pytest.raises(LookalikeError, match=complaint) as raised:
            load(folder, tmp_path)
        assert raised.value.remedy


def test_a_class_with_one_photo_is_a_negative_only(colours: Path, tmp_path: Path) -> None:
    draw(colours / "single" / "0.jpg", seed=99)
    dataset, said = load(colours, tmp_path)
    check_trainable(dataset, said.append)
    assert by_name(dataset)["single/0.jpg"] == "train"
    assert said[0] == "The class single has one training photo, which is only used as a negative."
    assert sorted(said[1:]) == ["The split test has no photo of single.", "The split val has no photo of single."]


def test_too_few_photos_to_validate_on(tmp_path: Path) -> None:
    for label in ("red", "blue"):
        for number in range(4):
            draw(tmp_path / "few" / label / f"{number}.jpg", label, number)
    dataset, _ = load(tmp_path / "few", tmp_path)
    with pytest.raises(LookalikeError, match="too few photos to validate on"):
        check_trainable(dataset, print)


@pytest.mark.slow
def test_the_digits_are_written_once_as_photos(tmp_path: Path) -> None:
    dataset, _ = load("digits", tmp_path)
    assert dataset.classes == [str(digit) for digit in range(10)]
    assert len(dataset.photos) == 1797
    written = tmp_path / "home" / "datasets" / "digits" / "0" / "0000.png"
    stamp = written.stat().st_mtime_ns
    assert load("digits", tmp_path)[0].digest == dataset.digest
    assert written.stat().st_mtime_ns == stamp


@pytest.mark.slow
def test_the_digits_can_be_written_by_two_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: locate("digits", tmp_path), range(2))
    assert first == second
    assert [path.name for path in first.parent.iterdir()] == ["digits"]
    assert len(list(first.glob("*/*.png"))) == 1797


def test_a_missing_split(colours: Path, tmp_path: Path) -> None:
    dataset, _ = load(colours, tmp_path)
    with pytest.raises(LookalikeError, match="no photo in the split 'tset'"):
        dataset.split("tset")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("file,label\ngreen/0.jpg,green\n", "path"),
        ("path,label,split\ngreen/0.jpg,green,train\nblue/0.jpg,blue,later\n", "has the split 'later'"),
        ("path,label\ngreen/0.jpg,green\ngreen/0.jpg,blue\n", "has two labels in .*, 'green' and 'blue'"),
        ("path,label,split\ngreen/0.jpg,green,train\ngreen/0.jpg,green,val\n", "has two splits"),
        ("path,label\n/etc/0.jpg,green\ngreen/0.jpg,green\n", "0.jpg, which is outside the manifest's folder"),
        ("path,label\ngreen/0.jpg,\nblue/0.jpg,\n", "have no labels"),
    ],
)
def test_an_invalid_manifest(colours: Path, tmp_path: Path, content: str, complaint: str) -> None:
    (colours / "list.csv").write_text(content)
    with pytest.raises(LookalikeError, match=complaint) as raised:
        load(colours / "list.csv", tmp_path)
    assert raised.value.remedy


def test_a_label_that_is_not_text_is_reported(colours: Path, tmp_path: Path) -> None:
    (colours / "list.jsonl").write_text('{"path": "green/0.jpg", "label": 7.5}\n')
    with pytest.raises(LookalikeError, match=r"label 7\.5 is not text"):
        load(colours / "list.jsonl", tmp_path)


def test_a_photo_listed_twice_in_a_manifest_counts_once(colours: Path, tmp_path: Path) -> None:
    rows = [f"{label}/{number}.jpg,{label}" for label in ("green", "blue") for number in range(6)]
    (colours / "list.csv").write_text("\n".join(["path,label", *rows, *rows]))
    assert len(load(colours / "list.csv", tmp_path)[0].photos) == 12


def test_identical_files_with_different_labels_are_reported(colours: Path, tmp_path: Path) -> None:
    (colours / "blue" / "copy.jpg").write_bytes((colours / "green" / "0.jpg").read_bytes())
    dataset, (told,) = load(colours, tmp_path)
    assert len(dataset.photos) == 37
    assert all(part in told for part in ("different labels", "blue/copy.jpg (blue)", "green/0.jpg (green)"))


def test_a_photo_with_too_many_pixels_is_left_out(colours: Path, tmp_path: Path) -> None:
    (colours / "green" / "large.jpg").write_bytes(encoded(photo("green", size=(400, 300)), progressive=True))
    dataset, (told,) = load(colours, tmp_path, decoder=PhotoDecoder(SourcePolicy(max_pixels=100_000)))
    assert len(dataset.photos) == 36
    assert "large.jpg" in told
    assert "LOOKALIKE_MAX_PIXELS" in told
    assert dataset.facts.area == 120 * 90
    assert dataset.facts.examples == dataset.counts["train"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_reported_and_skipped(colours: Path, tmp_path: Path) -> None:
    (colours / "green" / "locked").mkdir(mode=0)
    dataset, (told,) = load(colours, tmp_path)
    assert len(dataset.photos) == 36
    assert "locked can't be listed" in told
