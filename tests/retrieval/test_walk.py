"""The walk through a folder: what it skips, and which labels and splits folders give."""

import unicodedata
from pathlib import Path

import fsspec
import pytest

from retrieval.errors import BadSource
from retrieval.listing import no_photos
from retrieval.listing_options import ListingOptions
from retrieval.listing_report import ListingReport, SkippedReason
from retrieval.photo_ref import PhotoRef
from retrieval.walk import walk


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def listed(
    folder: Path | str, report: ListingReport | None = None, **options: object
) -> dict[str, tuple[str | None, str | None]]:
    """The label and split of each photo, by its path below the folder."""
    photos = walk(str(folder), ListingOptions(**options), report, lambda failure: None)
    return {_below(photo, folder): (photo.label, photo.split) for photo in photos}


def _below(photo: PhotoRef, folder: Path | str) -> str:
    return str(photo.path.relative_to(folder)) if isinstance(folder, Path) else photo.uri


def reasons(report: ListingReport) -> list[tuple[str, str, int, str]]:
    return [(why.reason, why.detail, why.count, why.example) for why in report.skipped_reasons]


def test_what_is_skipped_is_counted_with_its_reason(tmp_path: Path) -> None:
    files(tmp_path, "rose/1.jpg", "rose/2.HEX", "rose/3.hex", "rose/notes", "rose/4.mov")
    files(tmp_path, "rose/@eaDir/1.jpg/THUMB_M.jpg", "rose/@eaDir/1.jpg/THUMB_S.jpg", "rose/@eaDir/index.db")
    files(tmp_path, ".private/5.jpg", "rose/.6.jpg", "rose/.DS_Store", "rose/._1.jpg", "Thumbs.db")
    report = ListingReport()
    assert listed(tmp_path, report) == {"rose/1.jpg": ("rose", None)}
    assert report.skipped == 9
    assert sorted(reasons(report)) == [
        ("format", ".hex", 2, "rose/2.HEX"),
        ("format", ".mov", 1, "rose/4.mov"),
        ("format", "without suffix", 1, "rose/notes"),
        ("hidden", ".*", 1, "rose/.6.jpg"),
        ("hidden", ".private", 1, ".private/5.jpg"),
        ("system", "._*", 1, "rose/._1.jpg"),
        ("system", "@eaDir", 2, "rose/@eaDir/1.jpg/THUMB_M.jpg"),
    ]
    assert report.summary() == "2 .hex, 1 .mov, 1 without suffix, 1 .*, 1 in .private, 2 in @eaDir, 1 ._*"


def test_a_camera_raw_file_is_skipped_if_a_jpeg_of_the_same_name_is_beside_it(tmp_path: Path) -> None:
    files(tmp_path, "rose/1.NEF", "rose/1.JPG", "rose/2.dng", "rose/3.cr2", "rose/3.png", "other/2.jpg")
    report = ListingReport()
    assert set(listed(tmp_path, report)) == {"rose/1.JPG", "rose/2.dng", "rose/3.cr2", "rose/3.png", "other/2.jpg"}
    assert reasons(report) == [("format", ".nef beside a JPEG", 1, "rose/1.NEF")]
    assert len(listed(tmp_path, exclude=("*.JPG",))) == 5


SYSTEM = ["@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", ".thumbnails", ".Trash-1000", ".AppleDouble", "__MACOSX"]


@pytest.mark.parametrize("name", SYSTEM)
def test_system_folders_are_skipped_even_with_hidden_ones(tmp_path: Path, name: str) -> None:
    files(tmp_path, f"rose/{name}/1.jpg", f"{name}/2.jpg", "rose/3.jpg")
    report = ListingReport()
    assert set(listed(tmp_path, report, include_hidden=True)) == {"rose/3.jpg"}
    (reason,) = report.skipped_reasons
    assert (reason.reason, reason.detail, reason.count) == ("system", name, 2)
    assert set(listed(tmp_path / name)) == {"2.jpg"}, "the source itself is not skipped"


def test_hidden_files_are_listed_on_request(tmp_path: Path) -> None:
    files(tmp_path, ".private/1.jpg", ".2.jpg", "._3.jpg")
    assert set(listed(tmp_path, include_hidden=True)) == {".private/1.jpg", ".2.jpg"}
    assert set(listed(tmp_path / ".private")) == {"1.jpg"}


@pytest.mark.parametrize("name", [".lookalike", "state"])
def test_the_home_is_skipped_under_any_name(tmp_path: Path, name: str) -> None:
    files(tmp_path, f"{name}/thumbnails/1.jpg", f"{name}/photos/labelled/rose/2.jpg", "rose/3.jpg")
    (tmp_path / "rose" / "same").symlink_to(tmp_path / name)
    report = ListingReport()
    found = listed(tmp_path, report, home=tmp_path / "rose" / ".." / name, include_hidden=True)
    assert set(found) == {"rose/3.jpg"}
    assert reasons(report) == [("home", name, 2, f"{name}/thumbnails/1.jpg")]
    assert set(listed(tmp_path / name / "photos", home=tmp_path / name)) == {"labelled/rose/2.jpg"}, (
        "not its subfolders"
    )


@pytest.mark.parametrize("name", [".lookalike", "state"])
def test_the_home_does_not_hide_that_folders_are_splits(tmp_path: Path, name: str) -> None:
    files(tmp_path, f"{name}/thumbnails/1.jpg", "train/rose/1.jpg", "test/rose/2.jpg")
    labels = {photo.label for photo in walk(str(tmp_path), ListingOptions(home=tmp_path / name))}
    assert labels == {"rose"}


def test_patterns_of_options_and_of_files_exclude(tmp_path: Path) -> None:
    files(tmp_path, "rose/1.jpg", "rose/1.png", "drafts/2.jpg", "tulip/drafts/3.jpg", "tulip/4.jpg", "tulip/keep.png")
    files(tmp_path, "tulip/5.jpg", "rose/5.jpg", "tulip/6.txt")
    (tmp_path / ".lookalikeignore").write_text("# a comment\n\n*.png\r\n")
    (tmp_path / "tulip" / ".lookalikeignore").write_text("!keep.png\n/5.jpg\n*.txt\n")
    report = ListingReport()
    found = listed(tmp_path, report, exclude=("drafts/",))
    assert set(found) == {"rose/1.jpg", "rose/5.jpg", "tulip/4.jpg", "tulip/keep.png"}
    assert sorted(reasons(report)) == [
        ("excluded", "*.png", 1, "rose/1.png"),
        ("excluded", "/5.jpg", 1, "tulip/5.jpg"),
        ("excluded", "drafts/", 2, "drafts/2.jpg"),
    ]
    assert "tulip/keep.png" not in listed(tmp_path, exclude=("*.png",)), "options take precedence over files"


def test_patterns_that_are_not_valid_are_refused(tmp_path: Path) -> None:
    files(tmp_path, "1.jpg")
    with pytest.raises(BadSource, match="A pattern of --exclude is not valid"):
        listed(tmp_path, exclude=("!",))
    (tmp_path / ".lookalikeignore").write_text("!\n")
    with pytest.raises(BadSource, match=r"A pattern of .*\.lookalikeignore is not valid"):
        listed(tmp_path)


def test_a_store_at_a_url_skips_alike() -> None:
    memory = fsspec.filesystem("memory")
    names = ("rose/1.jpg", "rose/@eaDir/2.jpg", ".private/3.jpg", "drafts/4.jpg")
    memory.pipe({f"/skipping/{name}": b"x" for name in names} | {"/skipping/.lookalikeignore": b"drafts\n"})
    report = ListingReport()
    assert set(listed("memory://skipping", report)) == {"memory:///skipping/rose/1.jpg"}
    assert sorted(why[:3] for why in reasons(report)) == [
        ("excluded", "drafts", 1),
        ("hidden", ".private", 1),
        ("system", "@eaDir", 1),
    ]
    memory.rm("/skipping", recursive=True)


def test_split_folders_are_splits_and_their_folders_labels(tmp_path: Path) -> None:
    files(tmp_path, "Train/rose/1.jpg", "Train/tulip/deep/2.jpg", "valid/rose/3.jpg", "valid/tulip/4.jpg")
    files(tmp_path, "TEST/rose/5.jpg", "Train/6.jpg", ".lookalike/7.jpg")
    report = ListingReport()
    assert listed(tmp_path, report) == {
        "Train/rose/1.jpg": ("rose", "train"),
        "Train/tulip/deep/2.jpg": ("tulip", "train"),
        "valid/rose/3.jpg": ("rose", "val"),
        "valid/tulip/4.jpg": ("tulip", "val"),
        "TEST/rose/5.jpg": ("rose", "test"),
        "Train/6.jpg": (None, "train"),
    }
    assert report.notices == [
        "The folders TEST, Train and valid are used as splits, and the folders in them as labels."
    ]


def test_folders_with_such_names_but_other_folders_in_them_are_labels(tmp_path: Path) -> None:
    files(tmp_path, "train/steam/1.jpg", "train/diesel/2.jpg", "test/tube/3.jpg")
    report = ListingReport()
    assert {label for label, _ in listed(tmp_path, report).values()} == {"train", "test"}
    assert "are used as labels, since they don't have the same subfolders" in report.notices[0]
    report = ListingReport()
    assert set(listed(files(tmp_path / "one", "train/rose/1.jpg"), report).values()) == {("train", None)}
    files(tmp_path / "more", "train/rose/1.jpg", "test/rose/2.jpg", "bus/3.jpg")
    assert {label for label, _ in listed(tmp_path / "more", report).values()} == {"train", "test", "bus"}
    assert report.notices == [
        "The folders test and train are used as labels and not as splits, since there are other folders beside them, "
        "for example bus."
    ]


def test_real_folders_come_before_links(tmp_path: Path) -> None:
    files(tmp_path / "library", "rose/1.jpg", "tulip/2.jpg")
    files(tmp_path / "elsewhere", "3.jpg")
    (tmp_path / "library" / "best").symlink_to(tmp_path / "library" / "rose")
    (tmp_path / "library" / "a").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "library") == {
        "rose/1.jpg": ("rose", None),
        "tulip/2.jpg": ("tulip", None),
        "a/3.jpg": ("a", None),
    }


def test_labels_are_composed_and_trimmed_and_those_alike_are_reported(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "rosé")
    files(tmp_path, f"{decomposed} /1.jpg", "rosé/2.jpg", "Rosé/3.jpg", "tulip/4.jpg")
    report = ListingReport()
    assert {label for label, _ in listed(tmp_path, report).values()} == {"rosé", "Rosé", "tulip"}
    assert report.notices == ["The labels Rosé and rosé differ only in upper and lower case."]


def test_a_source_without_photos_says_what_it_has_instead(tmp_path: Path) -> None:
    files(tmp_path, "a/1.hex", "a/2.hex", ".hidden/3.jpg")
    text = str(no_photos(tmp_path))
    assert "contains no photos. Skipped: 2 .hex, 1 in .hidden." in text
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label\n" + ",rose\n" * 5)
    text = str(no_photos(manifest))
    assert text.count("has no path") == 3
    assert "2 more entries can't be used." in text


def test_many_suffixes_take_bounded_space(tmp_path: Path) -> None:
    report = ListingReport()
    for number in range(500):
        report.skip_format(f"slice.{number}", f"slice.{number}")
    assert report.skipped == 500
    assert len(report.skipped_reasons) == 101
    assert report.skipped_reasons[0] == SkippedReason("format", "others", 400, "slice.100")
