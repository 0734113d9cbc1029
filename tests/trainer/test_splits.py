"""Splits that follow from the content of the photos."""

import hashlib
from collections import Counter

import pytest

from retrieval.photo_ref import PhotoRef
from trainer.splits import hashed_splits


def album(sizes: dict[str, int], first: int = 0) -> list[PhotoRef]:
    return [
        PhotoRef(f"file:///{label}/{number}.jpg", label)
        for label, size in sizes.items()
        for number in range(first, first + size)
    ]


def contents(photos: list[PhotoRef], copies: dict[str, str] | None = None) -> dict[str, str]:
    return {
        photo.uri: hashlib.sha256((copies or {}).get(photo.uri, photo.uri).encode()).hexdigest() for photo in photos
    }


def splits(photos: list[PhotoRef], seed: int = 0, **options: object) -> dict[str, str]:
    return {photo.uri: str(photo.split) for photo in hashed_splits(photos, contents(photos), seed, **options)}


def test_the_shares_are_about_those_of_the_intervals() -> None:
    counts = Counter(splits(album({"a": 2000, "b": 2000})).values())
    assert counts["val"] == pytest.approx(600, abs=75)
    assert counts["test"] == pytest.approx(600, abs=75)


def test_another_photo_moves_no_photo_of_a_large_class() -> None:
    photos = album({"a": 100, "b": 100})
    before, after = splits(photos), splits([*photos[:50], *photos[51:], *album({"a": 5, "c": 40}, first=100)])
    assert {uri: split for uri, split in before.items() if uri in after}.items() <= after.items()


def test_the_seed_selects_the_drawing() -> None:
    photos = album({"a": 50, "b": 50})
    assert splits(photos) == splits(photos) != splits(photos, seed=1)


@pytest.mark.parametrize("size", [6, 7, 12])
def test_a_class_of_six_photos_has_two_to_validate_and_two_to_test(size: int) -> None:
    for seed in range(20):
        photos = album({"a": size, "b": size})
        drawn = hashed_splits(photos, contents(photos), seed)
        counts = Counter((photo.label, photo.split) for photo in drawn)
        assert all(counts[label, split] >= 2 for label in "ab" for split in ("val", "test"))


def test_a_smaller_class_is_only_trained_on() -> None:
    drawn = splits(album({"a": 5, "b": 30}))
    assert {split for uri, split in drawn.items() if "/a/" in uri} == {"train"}


def test_identical_files_are_in_one_split_whatever_their_labels() -> None:
    photos = album({"a": 40, "b": 40})
    same = contents(photos, {f"file:///b/{number}.jpg": f"file:///a/{number}.jpg" for number in range(40)})
    drawn = {photo.uri: photo.split for photo in hashed_splits(photos, same, 0)}
    assert all(drawn[f"file:///a/{number}.jpg"] == drawn[f"file:///b/{number}.jpg"] for number in range(40))
    assert len(set(drawn.values())) == 3


def test_photos_of_a_group_are_in_one_split() -> None:
    photos = [
        PhotoRef(f"file:///{number}.jpg", "ab"[number % 2], extra={"group": number // 4}) for number in range(200)
    ]
    drawn = hashed_splits(photos, contents(photos), 0)
    by_group = {group: {photo.split for photo in drawn if photo.extra["group"] == group} for group in range(50)}
    assert all(len(found) == 1 for found in by_group.values())
    assert len(set().union(*by_group.values())) == 3


def test_identical_files_of_a_group_and_of_another_one_link_them() -> None:
    photos = [PhotoRef(f"file:///{number}.jpg", "ab"[number % 2], extra={"group": number // 4}) for number in range(80)]
    photos += [PhotoRef(f"file:///copies/{number}.jpg", "a") for number in range(20)]
    copies = {f"file:///copies/{number}.jpg": f"file:///{4 * number + 1}.jpg" for number in range(20)}
    copies |= {f"file:///{8 * number}.jpg": f"file:///{8 * number + 5}.jpg" for number in range(10)}
    drawn = {photo.uri: photo.split for photo in hashed_splits(photos, contents(photos, copies), 0)}
    for number in range(0, 80, 8):
        eight = {drawn[f"file:///{number + place}.jpg"] for place in range(8)}
        assert len(eight) == 1
        assert eight == {drawn[f"file:///copies/{number // 4}.jpg"]}
    assert set(drawn.values()) == {"train", "val", "test"}


def test_known_splits_are_kept() -> None:
    photos = album({"a": 30, "b": 30})
    known = dict.fromkeys(list(contents(photos).values())[:45], "train")
    drawn = splits(photos, known=known)
    assert [drawn[photo.uri] for photo in photos[:45]] == ["train"] * 45
    assert {drawn[photo.uri] for photo in photos[45:]} == {"train", "val", "test"}
