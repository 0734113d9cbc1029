"""Whether folders name kinds or dates."""

from pathlib import Path

import pytest

from retrieval.errors import BadSource
from trainer.labels import is_date, names_kinds

YEARS = ("2019", "1987", "2024-05", "202405", "2024_05_17", "20240517", "05", "12", "May", "17 May 2024")


@pytest.mark.parametrize("name", YEARS)
def test_years_months_and_days_are_dates(name: str) -> None:
    assert is_date(name)


@pytest.mark.parametrize("name", ["rose", "", "1", "13", "00", "0", "2101", "maybe", "May roses", "05 17", "20241301"])
def test_other_names_are_kinds(name: str) -> None:
    assert not is_date(name)


def library(root: Path, **counts: int) -> Path:
    for folder, count in counts.items():
        place = root / folder.strip("_") if folder != "top" else root
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (place / f"{number}.jpg").touch()
    return root


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"rose": 3, "tulip": 3}, True),
        ({"rose": 3, "tulip": 3, "top": 2}, True),
        ({"rose": 3, "_2024_": 3}, True),
        ({"rose": 1, "tulip": 1, "top": 3}, False),
        ({"top": 4}, False),
        ({"rose": 4}, False),
        ({"_2019_": 3, "_2020_": 2, "May": 1}, False),
    ],
)
def test_most_photos_must_be_in_folders_that_name_kinds(counts: dict[str, int], expected: bool, tmp_path: Path) -> None:
    assert names_kinds(library(tmp_path / "photos", **counts)) == expected


def test_photos_below_a_folder_of_a_year_belong_to_it(tmp_path: Path) -> None:
    library(tmp_path / "2019" / "Berlin", top=3)
    library(tmp_path / "2020" / "Rome", top=3)
    assert not names_kinds(tmp_path)


def test_a_manifest_names_kinds_by_its_labels(tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label\na.jpg,rose\nb.jpg,tulip\n")
    assert names_kinds(manifest)
    manifest.write_text("path\na.jpg\nb.jpg\n")
    assert not names_kinds(manifest)
    with pytest.raises(BadSource, match="does not exist"):
        names_kinds(tmp_path / "nowhere")
