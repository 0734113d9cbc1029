"""Manifests as spreadsheets, databases and other programs write them."""

import json
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest

from retrieval.errors import BadSource
from retrieval.listing import list_photos
from retrieval.listing_report import ListingReport
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure, read_photo


def rows(
    manifest: Path, report: ListingReport | None = None, failures: list[Failure] | None = None
) -> list[tuple[str, str | None]]:
    """The path, relative to the manifest, and the label of each photo."""
    on_failure = None if failures is None else failures.append
    photos = list_photos(manifest, "manifest", on_failure, report=report)
    return [(os.path.relpath(photo.path, manifest.parent.resolve()), photo.label) for photo in photos]


TWO = [("a.jpg", "rosé"), ("b/c.jpg", "tulip")]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-8"),
        ("path,label\r\na.jpg,rosé\r\nb/c.jpg,tulip", "utf-8-sig"),
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-16"),
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-16-le"),
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-16-be"),
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-32"),
        ("path,label\na.jpg,rosé\nb/c.jpg,tulip\n", "cp1252"),
        ("path;label\na.jpg;rosé\nb/c.jpg;tulip\n", "utf-8"),
        ("path\tlabel\na.jpg\trosé\nb/c.jpg\ttulip\n", "utf-16"),
        ("path, label\na.jpg, rosé\nb/c.jpg, tulip \n", "utf-8"),
        (" Path , LABEL \n a.jpg , rosé \n b/c.jpg , tulip \n", "utf-8"),
        ("label, path\nrosé, a.jpg\ntulip, b/c.jpg\n", "utf-8"),
        ("# made by a program\n\n# twice, 'it' says\npath,label\na.jpg,rosé\n# b\n#x.jpg,y\nb/c.jpg,tulip\n", "utf-8"),
        ("path,label\na.jpg,rosé\npath,label\nb/c.jpg,tulip\n,\n", "utf-8"),
        ("path,labels\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-8"),
        ("path,class\na.jpg,rosé\nb/c.jpg,tulip\n", "utf-8"),
        ("file_name,Category,\na.jpg,rosé,\nb/c.jpg,tulip,\n", "utf-8"),
        ('path,label\n"a.jpg","rosé"\n"b/c.jpg","tulip"\n', "utf-8"),
    ],
)
def test_a_table_of_any_program_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_bytes(text.encode(encoding))
    assert rows(manifest) == TWO


def test_labels_are_composed_and_trimmed(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\na.jpg,{unicodedata.normalize('NFD', 'rosé')}\nb/c.jpg, tulip\n")
    assert rows(tmp_path / "list.csv") == TWO
    (tmp_path / "numbers.jsonl").write_text('{"path": "a.jpg", "label": 0}\n{"path": "b/c.jpg", "label": "7"}\n')
    assert [label for _, label in rows(tmp_path / "numbers.jsonl")] == ["0", "7"]
    (tmp_path / "list.jsonl").write_text(
        '{"Path": "a.jpg", "Label": " rosé "}\n{"path": "b/c.jpg", "label": "tulip"}\n'
    )
    assert rows(tmp_path / "list.jsonl") == TWO


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("m.csv", "picture;label\n1.jpg;rose\n", r"has no column path. Its columns are picture, label\."),
        ("m.csv", "", r"has no column path. It is empty\."),
        ("m.csv", "path,label,Label\n1.jpg,a,b\n", r"has the columns label and Label"),
        ("m.csv", "path,x,x\n1.jpg,a,b\n", r"has several columns x: path, x, x\."),
        ("m.csv", "path,label\n1.jpg,rose,red\n", "line 2, has more columns than the first line names"),
        ("m.csv", "path,label\n1.jpg,\0\n", "is not a CSV file|is not text"),
        ("m.jsonl", '{"path": "1.jpg", "label": 0.5}\n', "line 1: the label 0.5 is not text"),
        ("m.jsonl", '{"path": "1.jpg", "label": false}\n', "the label false is not text"),
        ("m.jsonl", '{"path": "1.jpg", "label": []}\n', r"the label \[\] is not text"),
        ("m.parquet", "no table", "is not a Parquet file|can't be read"),
    ],
)
def test_what_is_in_doubt_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadSource, match=sentence) as raised:
        rows(tmp_path / name)
    assert raised.value.remedy


def test_utf_16_that_is_cut_off_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("path,label\na.jpg,rosé\n".encode("utf-16")[:-1])
    with pytest.raises(BadSource, match="is not text in UTF-16"):
        rows(tmp_path / "m.csv")


def test_rows_without_a_label_are_no_missing_column(tmp_path: Path) -> None:
    lines = [{"path": "a.jpg"}, {"path": "b.jpg", "label": "x", "price": 5}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = ListingReport()
    assert rows(tmp_path / "m.jsonl", report) == [("a.jpg", None), ("b.jpg", "x")]
    assert report.missing_labels == []


def test_a_missing_column_of_labels_is_reported(tmp_path: Path) -> None:
    for text, expected in {
        "path,price\na.jpg,5\nb.jpg,\n": [
            f"{tmp_path}/m.csv has no column label: 2 photos without one. Its columns are path, price."
        ],
        "path,class,category\na.jpg,x,y\n": [
            f"{tmp_path}/m.csv has no column label: 1 photo without one. Its columns are path, class, category. Rename "
            "class or category to label."
        ],
        "path,label\na.jpg,\n": [],
    }.items():
        (tmp_path / "m.csv").write_text(text)
        report = ListingReport()
        assert {label for _, label in rows(tmp_path / "m.csv", report)} == {None}
        assert report.missing_labels == expected


def test_values_are_kept_as_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"path": "a.jpg", "class": "x", "n": 0, "ok": false, "t": " 5 ", "e": ""}\n')
    (photo,) = list_photos(tmp_path / "m.jsonl")
    assert photo.extra == {"class": "x", "n": 0, "ok": False, "t": " 5 "}
    (tmp_path / "m.csv").write_text("path,label,class,price\na.jpg,x,y,05\n")
    (photo,) = list_photos(tmp_path / "m.csv")
    assert photo.extra == {"class": "y", "price": "05"}


def test_the_last_of_several_labels_wins_and_is_reported(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\na.jpg,rose\nb.jpg,tulip\n./a.jpg,daisy\nb.jpg,tulip\n")
    report = ListingReport()
    assert rows(tmp_path / "m.csv", report) == [("a.jpg", "daisy"), ("b.jpg", "tulip")]
    conflict = f"{tmp_path}/a.jpg has two labels in {tmp_path}/m.csv, 'rose' and 'daisy'"
    assert report.notices == [f"{conflict}; the last one is used."]
    assert report.conflicts == [f"{conflict}."]


@pytest.mark.parametrize(
    ("written", "file"),
    [
        (b"ros\xe9.jpg", "rosé.jpg".encode()),  # an encoding of Windows, and the name in that of the file system
        (b"ros\xe9.jpg", b"ros\xe9.jpg"),  # the bytes of the name
        (b"b\\c.jpg", b"b/c.jpg"),
        (b"b\\c.jpg", b"b\\c.jpg"),
        (b"#1.jpg", b"#1.jpg"),
        (b" 1.jpg", b"1.jpg"),
        (b" 1.jpg", b" 1.jpg"),
    ],
)
def test_a_path_names_the_file_that_exists(tmp_path: Path, written: bytes, file: bytes) -> None:
    path = tmp_path / os.fsdecode(file)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    (tmp_path / "m.csv").write_bytes(b"path,label\n" + written + b",rose\n")
    (photo,) = list_photos(tmp_path / "m.csv")
    assert photo.path == path


def test_a_manifest_in_an_archive_names_its_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("all/m.csv", "path,label\nrose/1.jpg,rose\n")
        archive.writestr("all/rose/1.jpg", b"x")
    policy = SourcePolicy(allow_urls=True)
    (photo,) = list_photos(f"zip://all/m.csv::{tmp_path}/photos.zip", policy=policy)
    assert read_photo(photo) == b"x"


def test_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    pa = pytest.importorskip("pyarrow")
    columns = {"path": ["a.jpg", "b/c.jpg"], "label": [7, 0], "price": [1.5, float("nan")], "tags": [["x"], []]}
    columns["parts"] = [{"a": 1}, None]
    pq.write_table(pa.table(columns), tmp_path / "m.parquet")
    report = ListingReport()
    assert rows(tmp_path / "m.parquet", report) == [("a.jpg", "7"), ("b/c.jpg", "0")]
    assert [photo.extra for photo in list_photos(tmp_path / "m.parquet")] == [{"price": 1.5, "tags": ["x"]}, {}]
    assert report.notices == [f"The column parts of {tmp_path}/m.parquet is left out: its values can't be stored."]


def test_faults_do_not_stop_the_other_lines(tmp_path: Path) -> None:
    lines = ["# note", json.dumps({"path": "a.jpg"}), "[]", json.dumps({"path": "b.jpg"})]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    failures: list[Failure] = []
    assert rows(tmp_path / "m.jsonl", None, failures) == [("a.jpg", None), ("b.jpg", None)]
    assert [failure.reason for failure in failures] == [f"{tmp_path}/m.jsonl, line 3, is not a JSON object."]
    assert failures[0].uri.endswith("/m.jsonl#line=3")
