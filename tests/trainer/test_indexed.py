"""Training data from the index."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest
from commands import Command
from make import COLOURS, encoded, photo
from PIL import Image, ImageEnhance
from pydantic import SecretStr
from serving import answering, fill_index

from indexer.removed_photos import remove_photos
from retrieval.bundle import Bundle
from retrieval.errors import BadSource, LookalikeError
from retrieval.index import VectorIndex, open_store
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import path_of
from retrieval.settings import Settings
from trainer import indexed
from trainer.data import Dataset, check_trainable, load_dataset
from trainer.indexed import read_indexed
from trainer.split_overlap import find_duplicates


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three classes of eight photos, a folder per class; so small that none counts as a copy of another."""
    for label in COLOURS:
        (tmp_path / "colours" / label).mkdir(parents=True)
        for seed in range(8):
            content = encoded(photo(label, seed, size=(60, 45)))
            (tmp_path / "colours" / label / f"{seed}.jpg").write_bytes(content)
    return tmp_path / "colours"


def blocks(seed: int) -> Image.Image:
    """Coloured blocks, which no other seed has."""
    drawn = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    return Image.fromarray(drawn).resize((120, 90), Image.Resampling.NEAREST)


@contextmanager
def opened(settings: Settings, bundle: Bundle) -> Iterator[VectorIndex]:
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension) as index:
        yield index


def load(settings: Settings, **options: object) -> tuple[Dataset, list[str]]:
    said: list[str] = []
    indexed = read_indexed(settings, said.append)
    return load_dataset("index:", settings.home, said.append, indexed=indexed, **options), said


def relabel(index: VectorIndex, *labels: str | None) -> list[str]:
    """Give the first photos these labels; return their URIs."""
    first = list(zip(index.scroll_payloads(), labels, strict=False))
    index.replace_payloads({id: replace(payload, label=label) for (id, payload), label in first})
    return [payload.uri for (_, payload), _ in first]


def test_the_labels_are_those_of_the_index(settings: Settings, bundle: Bundle, colours: Path) -> None:
    fill_index(settings, bundle, colours)
    with opened(settings, bundle) as index:
        changed = relabel(index, "violet", "violet", None)
    dataset, said = load(settings)
    assert said == ["1 photo without a label left out."]
    assert dataset.classes == sorted([*COLOURS, "violet"])
    labels = {photo.uri: photo.label for photo in dataset.photos}
    assert [labels.get(uri) for uri in changed] == ["violet", "violet", None]
    assert len(labels) == 23
    assert load(settings, label_from="none", needs_labels=False)[0].classes == []


def test_splits_follow_from_the_content(settings: Settings, bundle: Bundle, colours: Path) -> None:
    fill_index(settings, bundle, colours)
    folder = load_dataset(str(colours), settings.home, print)
    dataset, said = load(settings)
    assert said == []
    assert {photo.uri: photo.split for photo in dataset.photos} == {one.uri: one.split for one in folder.photos}
    check_trainable(dataset, print)


def test_what_can_not_be_trained_on_is_counted(settings: Settings, bundle: Bundle, colours: Path) -> None:
    fill_index(settings, bundle, colours)
    with opened(settings, bundle) as index:
        (one, payload), (other, at_url), *rest = index.scroll_payloads()
        remove_photos(index, [IndexedPhoto(one, payload)], "person")
        index.replace_payloads({other: replace(at_url, uri="s3://photos/1.jpg")})
    gone, changed, damaged = (path_of(payload.uri) for _, payload in rest[:3])
    gone.unlink()
    changed.write_bytes(encoded(photo("red", 99)))
    damaged.write_text("Dear photo")
    dataset, said = load(settings)
    assert len(dataset.photos) == 24 - 5
    assert said[:3] == [
        "Photos left out because they were removed from the index: 1.",
        "Photos left out because they are at URLs, not on this machine: 1.",
        f"Photos left out because their files do not exist any more: 1, for example {gone}.",
    ]
    assert said[3].startswith(f"Left out: {damaged}. ")
    assert said[4] == "Photos left out because their files have changed since they were indexed: 1."


def test_near_identical_photos_have_one_split(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    for number in range(14):
        path = tmp_path / "blocks" / f"class {number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(blocks(number)))
        brighter = ImageEnhance.Brightness(blocks(number)).enhance(1.1)
        path.with_stem(f"{number}-copy").write_bytes(encoded(brighter, quality=70))
    fill_index(settings, bundle, tmp_path / "blocks")
    dataset, said = load(settings)
    assert said == []
    splits: dict[str, set[str | None]] = {}
    for one in dataset.photos:
        splits.setdefault(one.path.stem.removesuffix("-copy"), set()).add(one.split)
    assert len(splits) == 14
    assert all(len(found) == 1 for found in splits.values())
    assert min(Counter(one.split for one in dataset.photos).values()) >= 8
    assert find_duplicates(dataset.photos, dataset.fingerprints) == []


def test_a_class_of_similar_photos_is_split_all_the_same(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    make.library(tmp_path / "library", per_label=6)
    for label in COLOURS:
        for number in range(6):
            shade = ImageEnhance.Brightness(photo(label)).enhance(1 + number / 50)
            (tmp_path / "library" / label / f"{number}.jpg").write_bytes(encoded(shade))
    fill_index(settings, bundle, tmp_path / "library")
    check_trainable(load(settings)[0], print)


def test_an_index_that_can_not_be_trained_on(settings: Settings, bundle: Bundle, colours: Path) -> None:
    fill_index(settings, bundle, colours)
    with opened(settings, bundle) as index:
        relabel(index, *[None] * 24)
    with pytest.raises(BadSource, match=r"^The photos of index: have no labels\. Label photos on their pages"):
        load(settings)
    with opened(settings, bundle) as index:
        relabel(index, *["red"] * 24)
    with pytest.raises(BadSource, match=r"^index: has readable photos of fewer than two classes\. Label more photos\."):
        load(settings)
    with opened(settings, bundle) as index:
        relabel(index, *(f"class {number}" for number in range(24)))
    with pytest.raises(LookalikeError, match="index: has too few photos to train on: triplets need two classes"):
        check_trainable(load(settings)[0], print)
    shutil.rmtree(colours)
    with pytest.raises(BadSource, match="No photo of the index has a file on this machine"):
        load(settings)
    with opened(settings, bundle) as index:
        index.delete([id for id, _ in index.scroll_payloads()])
    with pytest.raises(BadSource, match="The index has no photos"):
        load(settings)


def test_there_is_no_index_to_train_on(command: Command, tmp_path: Path) -> None:
    called = command("train", "--data", "index:", "--out", tmp_path / "bundle")
    assert called.status == 1
    assert " ".join(called.err.split()).startswith("There is no index to train on. Index photos with")


def test_options_about_files_are_refused(command: Command, tmp_path: Path) -> None:
    for option in ("--include-hidden", "--exclude=old/", "--label-from=folder"):
        called = command("train", "--data", "index:", "--out", tmp_path / "bundle", option)
        assert called.status == 1
        assert "the photos and labels are those of the index" in " ".join(called.err.split())


def test_a_server_that_has_the_index_open_is_asked(
    settings: Settings, bundle: Bundle, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "PAGE", 10)
    with answering(settings, bundle, colours):
        asked, said = load(settings)
    assert asked == load(settings)[0]
    assert said == []


def test_a_server_that_refuses_is_quoted(settings: Settings, bundle: Bundle, colours: Path) -> None:
    closed = settings.model_copy(update={"reads_need_key": True, "api_keys": (SecretStr("reader:read:secret"),)})
    with answering(closed, bundle, colours), pytest.raises(LookalikeError, match="key"):
        load(closed)
