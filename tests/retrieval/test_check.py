"""`lookalike check` says what would be read, skipped or refused, and why."""

from pathlib import Path

import icc
import make
import pytest
from commands import Command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(make.encoded(make.photo(size=(60, 40))))
    (folder / "2.jpg").write_bytes(make.encoded(make.photo(size=(30, 50))))
    (folder / "3.tif").write_bytes(make.encoded(make.photo(), "TIFF", icc_profile=icc.grey_profile(1.4)))
    (folder / "4.mov").write_bytes(b"film")
    (folder / "5.png").write_bytes(make.encoded(make.photo(), "PNG")[:500])
    (folder / "6.png").write_bytes(b"")
    return folder


def test_each_file_is_read_skipped_or_refused(folder: Path, command: Command) -> None:
    found = command("check", folder, "--json").json
    assert (found["read"], found["skipped"], found["refused"]) == (3, 1, 2)
    reasons = {(why["outcome"], why["reason"], why["count"], Path(why["example"]).name) for why in found["reasons"]}
    assert reasons == {
        ("read", "format", 2, "1.jpg"),
        ("read", "format", 1, "3.tif"),
        ("read", "profile", 1, "3.tif"),
        ("skipped", "format", 1, "4.mov"),
        ("refused", "refused", 1, "5.png"),
        ("refused", "refused", 1, "6.png"),
    }
    (jpeg,) = [why for why in found["reasons"] if why["detail"] == "JPEG"]
    assert (jpeg["smallest"], jpeg["largest"]) == ([30, 50], [60, 40])


def test_the_table_names_sizes_and_reasons(folder: Path, command: Command) -> None:
    text = command("check", folder).out
    for words in ("3 read, 1 skipped, 2 refused", "JPEG, 30 × 50 to 60 × 40", "format: .mov", "empty (0 bytes)"):
        assert words in text


def test_strict_fails_if_a_photo_is_refused(folder: Path, command: Command) -> None:
    assert command("check", folder, "--strict").status == 1
    assert command("check", folder, "--strict", "--exclude", "*.png").status == 0


def test_a_photo_above_the_limit_is_reported(folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_MAX_PIXELS", "2000")
    found = command("check", folder, "--json").json
    (reduced,) = [why for why in found["reasons"] if why["reason"] == "reduced"]
    assert (reduced["count"], Path(reduced["example"]).name) == (1, "1.jpg")
    assert found["refused"] == 3
