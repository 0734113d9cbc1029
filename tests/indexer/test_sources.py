"""Sources: one stream of photos, and what `--sync` may remove."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import make
import pytest

from indexer import removal
from indexer.batch import BatchIndexer
from indexer.removal import Removal, RemovalLimits, remove_gone
from indexer.source_record import SourceSurvey, read_records, save_records
from indexer.source_uri import source_uri
from indexer.sources import list_sources
from retrieval.errors import BadSource
from retrieval.index import VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import PhotoRef, uri_of


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Two libraries side by side that a test may change: first/ and second/, 6 photos each."""
    for name in ("first", "second"):
        make.library(tmp_path / name, per_label=2)
    return tmp_path


def indexed(indexer: BatchIndexer, *sources: Path) -> None:
    for _ in indexer.run(list_sources([str(source) for source in sources])):
        pass


def test_several_sources_are_one_stream_with_their_own_kind_of_label(own: Path) -> None:
    manifest = own / "photos.csv"
    manifest.write_text("path,label\nsecond/red/0.jpg,crimson\n")
    photos = list(list_sources([str(own / "first"), str(manifest)]))
    assert len(photos) == 7
    assert {photo.label for photo in photos} == {"red", "green", "blue", "crimson"}


def test_an_empty_or_missing_source_is_refused_before_anything_is_listed(own: Path) -> None:
    (own / "empty").mkdir()
    with pytest.raises(BadSource, match="empty contains no photos"):
        list_sources([str(own / "first"), str(own / "empty")])
    with pytest.raises(BadSource, match="does not exist"):
        list_sources([str(own / "first"), str(own / "nowhere")])


def test_gone_photos_of_a_folder_are_removed_and_no_others(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    indexed(indexer, own / "first", own / "second")
    shutil.rmtree(own / "first" / "red")
    (own / "second" / "red" / "0.jpg").unlink()
    assert remove_gone(index, [str(own / "first")]).removed == 2
    assert index.count() == 10
    assert remove_gone(index, [str(own / "first")]).removed == 0


def test_what_is_indexed_while_the_folder_is_listed_is_not_gone(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(indexer, own / "first" / "red", own / "first" / "green")
    (own / "first" / "red" / "0.jpg").unlink()

    def list_and_index(*given: object, **options: object) -> Iterator[PhotoRef]:
        listed = list(list_sources(*given, **options))
        indexed(indexer, Path(shutil.copytree(own / "second" / "blue", own / "first" / "new")))
        return iter(listed)

    monkeypatch.setattr(removal, "list_sources", list_and_index)
    assert remove_gone(index, [str(own / "first")]).removed == 1
    assert index.count() == 3 + 2


def test_a_folder_whose_name_starts_alike_is_another_folder(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    (own / "first").rename(own / "second-best")
    indexed(indexer, own / "second", own / "second-best")
    shutil.rmtree(own / "second-best" / "red")
    assert remove_gone(index, [str(own / "second")]).removed == 0


def test_a_source_that_vanished_or_is_empty_removes_nothing(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    indexed(indexer, own / "first")
    shutil.rmtree(own / "first")
    with pytest.raises(BadSource):
        remove_gone(index, [str(own / "first")])
    (own / "first").mkdir()
    with pytest.raises(BadSource):
        remove_gone(index, [str(own / "first")])
    assert index.count() == 6


def test_one_vanished_source_of_several_removes_nothing(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    indexed(indexer, own / "first", own / "second")
    shutil.rmtree(own / "first" / "red")
    shutil.rmtree(own / "second")
    with pytest.raises(BadSource):
        remove_gone(index, [str(own / "first"), str(own / "second")])
    assert index.count() == 12


def test_a_manifest_removes_the_photos_below_it_that_no_longer_exist(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    indexed(indexer, own / "first", own / "second")
    manifest = own / "first" / "some.csv"
    manifest.write_text("path,label\nred/0.jpg,red\nred/1.jpg,red\n")
    (own / "first" / "red" / "1.jpg").unlink()
    (own / "second" / "red" / "1.jpg").unlink()
    assert remove_gone(index, [str(manifest)]).removed == 1
    assert index.count() == 11


def test_a_folder_that_vanishes_midway_loses_nothing(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    indexed(indexer, own / "first")
    told: list[str] = []
    photos = list_sources([str(own / "first")], "none", lambda entry: told.append(entry.uri))
    some = [next(photos), next(photos)]
    shutil.rmtree(own / "first")
    (outcome,) = indexer.run([*some, *photos])
    assert [failure.reason for failure in outcome.failures if "No such file" not in failure.reason] == []
    assert outcome.seen == len(outcome.failures) == 2
    assert [uri.rpartition("/")[2] for uri in told] == ["green", "red"]
    assert index.count() == 6
    assert index.labels() == {"red": 2, "green": 2, "blue": 2}


def photo_of(index: VectorIndex, path: Path) -> IndexedPhoto | None:
    uri = uri_of(path)
    return index.named([uri]).get(uri)


def test_an_empty_folder_that_held_photos_is_not_removed(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    """As if a share were not mounted."""
    indexed(indexer, own)
    (own / "second").rename(own.parent / "unmounted")
    (own / "second" / "lost+found").mkdir(parents=True)
    (own / "second" / "Thumbs.db").touch()
    (own / "first" / "red" / "0.jpg").unlink()
    removal = remove_gone(index, [str(own)])
    assert (removal.removed, index.count()) == (0, 12)
    (refused,) = removal.refused
    assert (refused.source, refused.would_remove, refused.of) == (str(own), 7, 12)
    assert "second held 6" in refused.reason
    assert remove_gone(index, [str(own)], limits=RemovalLimits(allowed="6")).removed == 0
    assert remove_gone(index, [str(own)], limits=RemovalLimits(allowed="59%")).removed == 7


def test_a_mount_point_that_is_none_now_keeps_its_photos(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(indexer, own)
    survey = SourceSurvey()
    ismount = os.path.ismount
    with monkeypatch.context() as mounted:
        mounted.setattr(os.path, "ismount", lambda path: path == own / "second" or ismount(path))
        for _ in survey.counted(list_sources([str(own)])):
            pass
        save_records(index, survey.records())
    (record,) = read_records(index).values()
    assert (record.photos, len(record.folders)) == (12, 6)
    shutil.rmtree(own / "second" / "red")
    (refused,) = remove_gone(index, [str(own)]).refused
    assert (refused.would_remove, refused.of) == (2, 12)
    assert "second was a mount point" in refused.reason
    (refused,) = remove_gone(index, [str(own / "second")]).refused
    assert (refused.would_remove, refused.of) == (2, 6), "another source recorded the mount point"
    (own / "first" / "red" / "0.jpg").unlink()
    assert index.count() == 12


def test_more_photos_than_the_limit_are_not_removed(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    make.library(own / "third", per_label=60, labels=("red",))
    indexed(indexer, own / "third", own / "first")
    for number in range(51):
        (own / "third" / "red" / f"{number}.jpg").unlink()
    removal = remove_gone(index, [str(own / "third"), str(own / "first")])
    assert [(one.would_remove, one.of) for one in removal.refused] == [(51, 60)]
    assert "more than 5 %" in removal.refused[0].reason
    assert remove_gone(index, [str(own / "third")], limits=RemovalLimits(percent=85)).removed == 51


def test_photos_that_left_a_manifest_are_removed_unless_another_source_names_them(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    manifest = own / "photos.csv"
    manifest.write_text("path,label\nfirst/red/0.jpg,a\nfirst/red/1.jpg,b\nsecond/red/0.jpg,c\nsecond/red/1.jpg,d\n")
    indexed(indexer, manifest, own / "first" / "red")
    manifest.write_text("path,label\nsecond/red/0.jpg,c\n")
    assert remove_gone(index, [str(manifest)]).removed == 1
    assert index.count() == 3
    assert photo_of(index, own / "second" / "red" / "1.jpg") is None
    photo = photo_of(index, own / "first" / "red" / "0.jpg")
    assert photo and photo.payload.sources == (source_uri(str(own / "first" / "red")),)
    assert remove_gone(index, [str(manifest)]).removed == 0


def test_photos_that_are_listed_when_they_are_listed_again_are_kept(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a folder were renamed back and forth while it is listed."""
    indexed(indexer, own / "first")
    listings = 0

    def hide_once(*given: object, **options: object) -> Iterator[PhotoRef]:
        nonlocal listings
        listings += 1
        return (photo for photo in list_sources(*given, **options) if listings > 1 or "/red/" not in photo.uri)

    monkeypatch.setattr(removal, "list_sources", hide_once)
    assert remove_gone(index, [str(own / "first")]) == Removal()
    assert (listings, index.count()) == (2, 6)
