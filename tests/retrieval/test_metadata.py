"""Folders of photos with a table of metadata, as Hugging Face's ImageFolder has them."""

import json
from pathlib import Path

import fsspec
import pytest

from retrieval.listing import list_photos
from retrieval.listing_report import ListingReport
from retrieval.source_policy import SourcePolicy


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def described(folder: Path, report: ListingReport | None = None) -> dict[str, tuple[object, ...]]:
    photos = list_photos(folder, report=report)
    return {str(photo.path.relative_to(folder)): (photo.label, photo.split, photo.extra) for photo in photos}


def test_metadata_describe_the_photos_of_their_folder(tmp_path: Path) -> None:
    files(tmp_path, "images/1.jpg", "images/2.jpg", "3.jpg")
    (tmp_path / "metadata.csv").write_text(
        "file_name,label,price\nimages/1.jpg,rosé,5\n3.jpg,,7\n4.jpg,rose,\n.5.jpg,rose,\n"
    )
    report = ListingReport()
    assert described(tmp_path, report) == {
        "images/1.jpg": ("rosé", None, {"price": "5"}),
        "images/2.jpg": ("images", None, {}),
        "3.jpg": (None, None, {"price": "7"}),
    }
    assert report.notices == [
        f"{tmp_path}/metadata.csv names 2 photos that cannot be found, for example {tmp_path}/.5.jpg."
    ]
    assert report.skipped == 0


def test_splits_with_metadata_in_each(tmp_path: Path) -> None:
    files(tmp_path, "train/1.jpg", "test/1.jpg", "test/2.jpg")
    for split, names in {"train": ["1.jpg"], "test": ["1.jpg", "2.jpg"]}.items():
        rows = [{"file_name": name, "label": f"{split}-label", "objects": {"bbox": []}} for name in names]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = ListingReport()
    assert described(tmp_path, report) == {
        "train/1.jpg": ("train-label", "train", {}),
        "test/1.jpg": ("test-label", "test", {}),
        "test/2.jpg": ("test-label", "test", {}),
    }
    assert "The folders test and train are used as splits, and the folders in them as labels." in report.notices


def test_a_table_without_file_names_is_only_a_file(tmp_path: Path) -> None:
    files(tmp_path, "rose/1.jpg")
    (tmp_path / "metadata.csv").write_text("path,label\nrose/1.jpg,tulip\n")
    report = ListingReport()
    assert described(tmp_path, report) == {"rose/1.jpg": ("rose", None, {})}
    assert report.summary() == "1 .csv"


def test_metadata_at_a_url() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/described/a/1.jpg": b"x", "/described/metadata.csv": b"file_name,label\na/1.jpg,rose\n"})
    (photo,) = list_photos("memory://described", policy=SourcePolicy(allow_urls=True))
    memory.rm("/described", recursive=True)
    assert (photo.uri, photo.label) == ("memory:///described/a/1.jpg", "rose")


def test_metadata_in_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)
    pa = pytest.importorskip("pyarrow")
    files(tmp_path, "1.jpg")
    pq.write_table(pa.table({"file_name": ["1.jpg"], "label": [3]}), tmp_path / "metadata.parquet")
    assert described(tmp_path) == {"1.jpg": ("3", None, {})}
