"""Folders and manifests are listed as photos, with names of any kind."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import BadSource, UnreadablePhoto
from retrieval.listing import list_photos
from retrieval.photo_ref import display, display_uri, path_of, photo_id, uri_of
from retrieval.stores import read_file


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def labels(source: Path, label_from: str = "folder") -> dict[str, str | None]:
    return {photo.path.name: photo.label for photo in list_photos(source, label_from)}


def test_the_label_is_the_first_folder_below_the_source(tmp_path: Path) -> None:
    for name in ("rose/1.jpg", "rose/2020/2.JPEG", "tulip/3.webp", "4.png"):
        touch(tmp_path / "flowers" / name)
    found = labels(tmp_path / "flowers")
    assert found == {"1.jpg": "rose", "2.JPEG": "rose", "3.webp": "tulip", "4.png": "flowers"}
    assert labels(tmp_path / "flowers" / "rose")["1.jpg"] == "rose"
    assert set(labels(tmp_path / "flowers", "none").values()) == {None}


def test_what_is_no_photo_is_passed_over(tmp_path: Path) -> None:
    for name in ("a.jpg", "notes.txt", "split.csv", ".DS_Store", "jpg"):
        touch(tmp_path / name)
    assert list(labels(tmp_path)) == ["a.jpg"]


def test_the_order_is_fixed(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a/9.jpg", "a/10.jpg", "c.jpg"):
        touch(tmp_path / name)
    assert [photo.path.name for photo in list_photos(tmp_path)] == ["c.jpg", "10.jpg", "9.jpg", "2.jpg"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert sorted(labels(tmp_path)) == ["1.jpg", "self.jpg"]


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "1.jpg")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "rose").symlink_to(tmp_path / "elsewhere")
    assert labels(tmp_path / "library") == {"1.jpg": "rose"}


AWKWARD = [b"with space", b"quo'te\"s", b"new\nline", b"\xff\xfe no utf-8", "résumé 日本".encode(), b"50% #1?x=&"]


@pytest.mark.parametrize("name", AWKWARD)
def test_any_name_goes_through_its_uri(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name + b".jpg")))
    touch(path)
    (photo,) = list_photos(tmp_path)
    assert photo.uri.isascii()
    assert photo.path == path
    assert photo.uri == uri_of(path)
    assert read_file(photo.path) == b"x"


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"/" not in name and name not in (b".", b"..")))
def test_a_uri_and_its_path_are_one_to_one(name: bytes) -> None:
    path = Path("/library") / os.fsdecode(name)
    assert path_of(uri_of(path)) == path


def test_a_photo_has_one_id_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = touch(tmp_path / "library" / "1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "library")
    monkeypatch.chdir(tmp_path)
    ids = {photo.id for source in ("library", "link", "./library/../link") for photo in list_photos(source)}
    assert ids == {photo_id(uri_of(path)), photo_id(uri_of(Path("library/1.jpg")))}
    assert len(ids) == 1


def test_the_id_is_the_uuid5_of_the_uri() -> None:
    assert str(photo_id("file:///photos/rose.jpg")) == "d1b096b9-29f4-595b-bec7-2d9c9b9aac88"


def test_a_csv_manifest_gives_labels_and_splits(tmp_path: Path) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\ufeffpath,label,split\nrose/1.jpg,rose,train\n/else/2.jpg,,\n", encoding="utf-8")
    first, second = list_photos(manifest, "manifest")
    assert (first.path, first.label, first.split) == (tmp_path.resolve() / "rose/1.jpg", "rose", "train")
    assert (second.path, second.label, second.split) == (Path("/else/2.jpg"), None, None)


def test_a_json_lines_manifest_gives_the_same(tmp_path: Path) -> None:
    manifest = tmp_path / "photos.jsonl"
    manifest.write_text(json.dumps({"path": "1.jpg", "label": "rosé"}) + "\n\n" + json.dumps({"path": "2.jpg"}))
    assert [(photo.path.name, photo.label) for photo in list_photos(manifest)] == [("1.jpg", "rosé"), ("2.jpg", None)]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("m.csv", "file,label\n1.jpg,rose\n", "has no column path"),
        ("m.csv", "path,label\n,rose\n", "line 2, has no path"),
        ("m.jsonl", '{"path": "1.jpg"}\nnot json\n', "line 2, is not JSON"),
        ("m.jsonl", "[1, 2]\n", "line 1, is not a JSON object"),
        ("m.jsonl", "[" * 100_000, "line 1, is not JSON"),
        ("m.jsonl", '{"path": 5}\n', "line 1, has no path"),
        ("m.jsonl", '{"path": "1.jpg", "label": 5.5}\n', "label 5.5 is not text"),
        ("m.jsonl", '{"path": "1.jpg", "split": 5}\n', "split 5 is not text"),
        ("m.jsonl", '{"path": "1.jpg"}\n{"path": "a\\ud800.jpg"}\n', r"2: no file can have the name a\\ud800\.jpg"),
    ],
)
def test_a_damaged_manifest_is_told_by_line(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadSource, match=sentence):
        list(list_photos(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text", "label"),
    [
        ("m.csv", b"path,label\na.jpg,ros\xe9\n", "rosé"),
        ("m.csv", b"path,label\na.jpg,ros\x81\n", "ros\\x81"),
        ("m.jsonl", b'{"path": "a.jpg", "label": "x\\ud800"}', "x\\ud800"),
        ("m.jsonl", b'{"path": "a.jpg", "label": "two\\nlines"}', "two\\nlines"),
    ],
)
def test_a_label_that_is_no_text_is_escaped_as_a_folders(tmp_path: Path, name: str, text: bytes, label: str) -> None:
    (tmp_path / name).write_bytes(text)
    assert labels(tmp_path / name, "manifest") == {"a.jpg": label}


def test_an_unlistable_folder_is_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.jpg", "locked/2.jpg", "z/3.jpg"):
        touch(tmp_path / name)
    refuse(monkeypatch, tmp_path / "locked")
    told: list[tuple[str, str]] = []
    found = list_photos(tmp_path, on_skipped=lambda entry: told.append((entry.uri, entry.reason)))
    assert [photo.path.name for photo in found] == ["1.jpg", "3.jpg"]
    assert told == [(uri_of(tmp_path / "locked"), f"The folder {tmp_path}/locked can't be listed (Refused).")]
    with pytest.raises(BadSource, match="locked"):
        list(list_photos(tmp_path))
    with pytest.raises(BadSource, match="locked"):
        list(list_photos(tmp_path / "locked", on_skipped=lambda entry: told.append((entry.uri, entry.reason))))


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The system lists any folder but this one; root may list every folder, so permissions can't do it here."""
    scandir = os.scandir

    def scan(path: str) -> object:
        if os.fspath(path) == os.path.realpath(folder):
            raise PermissionError(13, "Refused", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)


@pytest.mark.parametrize("name", ["missing", "photo.jpg"])
def test_a_source_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "photo.jpg")
    with pytest.raises(BadSource):
        list(list_photos(tmp_path / name))


@pytest.mark.parametrize(
    ("uri", "shown"),
    [("file:///a%20b%0A.jpg", "/a b\\n.jpg"), ("s3://bucket/a b%20.jpg", "s3://bucket/a b%20.jpg")],
)
def test_a_photo_is_shown_by_its_path_or_its_uri(uri: str, shown: str) -> None:
    assert display_uri(uri) == shown


def test_display_keeps_a_path_on_one_line() -> None:
    assert display(os.fsdecode(b"a\nb\xff\x1b[31m")) == "a\\nb\\xff\\x1b[31m"
    assert display("x\ud800é") == "x\\ud800é"


def test_a_photo_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, reason in {"missing": "can't be read", "folder": "is a folder", "pipe": "is not a regular file"}.items():
        with pytest.raises(UnreadablePhoto, match=rf"{name}\.jpg {reason}"):
            read_file(tmp_path / f"{name}.jpg")
    with pytest.raises(UnreadablePhoto, match="not on this machine"):
        path_of("https://example.org/1.jpg")
