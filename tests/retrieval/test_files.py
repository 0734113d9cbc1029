"""Files and folders are replaced in one step, and flushed to the disk."""

import os
from pathlib import Path

import pytest
from flushes import Flushes

from retrieval.files import flush_tree, make_folder, replace_folder, write_atomically


def test_a_file_is_flushed_before_it_gets_its_name_and_its_folder_after(tmp_path: Path, flushes: Flushes) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, "first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [flushed.name.split(".")[1:2] or flushed.name for flushed in flushes.paths[-2:]] == [["file"], "b"]
    assert path.parent in flushes.paths
    assert {tmp_path, tmp_path / "a"} < set(flushes.paths), "the names of new folders are flushed"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_written_keeps_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_once(tmp_path: Path, flushes: Flushes) -> None:
    make_folder(tmp_path / "a")
    assert flushes.paths == [tmp_path]
    make_folder(tmp_path / "a")
    assert flushes.paths == [tmp_path]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        make_folder(tmp_path / "file")


def test_a_tree_is_flushed_whole(tmp_path: Path, flushes: Flushes) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    flush_tree(tmp_path)
    assert set(flushes.paths) == {tmp_path, *tmp_path.rglob("*")}


def test_a_folder_is_flushed_before_it_replaces_another(tmp_path: Path, flushes: Flushes) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name)
    replace_folder(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "old" / "content").read_text() == "new"
    assert (tmp_path / "new" / "content").read_text() == "old", "for the caller to delete"
    assert flushes.paths == [tmp_path / "new" / "content", tmp_path / "new", tmp_path]


def test_a_file_system_that_cannot_flush_folders_is_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(22, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_atomically(tmp_path / "file", "content")
    assert (tmp_path / "file").read_text() == "content"
