from pathlib import Path

import pytest
from make import encoded, photo
from PIL import Image, ImageEnhance

from retrieval.decoder import PhotoDecoder
from retrieval.photo_ref import PhotoRef, uri_of
from trainer.split_overlap import Duplicate, find_duplicates, fingerprint, warning

DECODER = PhotoDecoder()


def all_duplicates(photos: list[PhotoRef]) -> list[Duplicate]:
    return find_duplicates(photos, {one.uri: fingerprint(one.path.read_bytes(), DECODER) for one in photos})


class Album:
    """Photos with splits, as they are on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.photos: list[PhotoRef] = []

    def add(self, name: str, split: str, content: bytes) -> None:
        path = self._folder / name
        path.write_bytes(content)
        self.photos.append(PhotoRef(uri_of(path), "red", split))

    def duplicates(self) -> list[Duplicate]:
        return all_duplicates(self.photos)

    def pairs(self) -> list[tuple[str, str, bool]]:
        return [(one.photo.path.name, one.original.path.name, one.identical) for one in self.duplicates()]


@pytest.fixture
def album(tmp_path: Path) -> Album:
    return Album(tmp_path)


def picture(seed: int) -> Image.Image:
    return photo("red", seed, size=(320, 240))


@pytest.mark.parametrize("copy_first", [False, True])
def test_identical_files_in_two_splits(album: Album, copy_first: bool) -> None:
    album.add("a.jpg", "train", encoded(picture(1)))
    album.add("b.jpg", "test", encoded(picture(1)))
    album.add("c.jpg", "test", encoded(picture(2)))
    if copy_first:
        album.photos.reverse()
    assert album.pairs() == [("b.jpg", "a.jpg", True)]
    assert album.duplicates()[0].similarity == 1


def test_copies_within_one_split_are_ignored(album: Album) -> None:
    for name in ("a.jpg", "b.jpg"):
        album.add(name, "train", encoded(picture(1)))
    album.add("c.jpg", "test", encoded(picture(2)))
    assert album.pairs() == []


@pytest.mark.parametrize("copy_first", [False, True])
@pytest.mark.parametrize(
    "copy",
    [
        encoded(picture(1), quality=30),
        encoded(picture(1), "PNG"),
        encoded(picture(1).resize((160, 120))),
        encoded(ImageEnhance.Brightness(picture(1)).enhance(1.2)),
    ],
    ids=["quality 30", "PNG", "half as large", "brighter"],
)
def test_a_changed_copy_is_near_identical(album: Album, copy: bytes, copy_first: bool) -> None:
    album.add("original.jpg", "train", encoded(picture(1)))
    album.add("other.jpg", "train", encoded(picture(2)))
    album.add("copy", "val", copy)
    if copy_first:
        album.photos.reverse()
    assert album.pairs() == [("copy", "original.jpg", False)]
    assert 0.96 <= album.duplicates()[0].similarity <= 1


def test_a_test_photo_may_be_in_the_validation_split(album: Album) -> None:
    album.add("a.jpg", "val", encoded(picture(1)))
    album.add("b.jpg", "test", encoded(picture(1)))
    assert album.pairs() == [("b.jpg", "a.jpg", True)]


def test_small_photos_are_compared_as_files(album: Album) -> None:
    tiny = picture(1).resize((32, 24))
    album.add("a.png", "train", encoded(tiny, "PNG"))
    album.add("b.png", "test", encoded(tiny, "PNG"))
    album.add("c.jpg", "test", encoded(tiny, "JPEG"))
    assert album.pairs() == [("b.png", "a.png", True)]


def test_photos_of_one_colour_have_no_duplicates(album: Album) -> None:
    album.add("black.png", "train", encoded(Image.new("RGB", (100, 100), "black"), "PNG"))
    album.add("white.png", "test", encoded(Image.new("RGB", (100, 100), "white"), "PNG"))
    assert album.pairs() == []


def test_the_warning_names_the_first_and_counts_the_rest(album: Album) -> None:
    album.add("train.jpg", "train", encoded(picture(1)))
    for number in range(12):
        album.add(f"test{number}.jpg", "test", encoded(picture(1)))
    said = warning(album.duplicates())
    assert "12 photos" in said
    assert said.count("train.jpg (identical)") == 10
    assert "and 2 more" in said


def test_two_scenes_of_the_real_sunflowers_occur_twice(flowers: Path) -> None:
    scenes = {
        ("14741866338_bdc8bfc8d5_n.jpg", "14925398301_55a180f919_n.jpg"),
        ("2823659190_afdabee45c.jpg", "2979133707_84aab35b5d.jpg"),
    }
    seen = {first for first, _ in scenes}
    photos = [
        PhotoRef(uri_of(path), "sunflower", "train" if path.name in seen else "test")
        for path in sorted((flowers / "sunflower").glob("*.jpg"))
    ]
    found = all_duplicates(photos)
    assert {(one.original.path.name, one.photo.path.name) for one in found} == scenes
