"""Sources: one stream of photos, and what `--sync` may remove."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import make
import pytest

from indexer import sources
from indexer.batch import BatchIndexer
from indexer.sources import list_sources, remove_gone
from retrieval.errors import BadSource
from retrieval.index import VectorIndex
from retrieval.photo_ref import PhotoRef


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
    assert remove_gone(index, [str(own / "first")]) == 2
    assert index.count() == 10
    assert remove_gone(index, [str(own / "first")]) == 0


def test_what_is_indexed_while_the_folder_is_listed_is_not_gone(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(indexer, own / "first" / "red", own / "first" / "green")
    (own / "first" / "red" / "0.jpg").unlink()

    def list_and_index(*given: object, **options: object) -> Iterator[PhotoRef]:
        listed = list(list_sources(*given, **options))
        indexed(indexer, make.library(own / "first" / "new", per_label=1))
        return iter(listed)

    monkeypatch.setattr(sources, "list_sources", list_and_index)
    assert remove_gone(index, [str(own / "first")]) == 1
    assert index.count() == 3 + 3


def test_a_folder_whose_name_starts_alike_is_another_folder(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    (own / "first").rename(own / "second-best")
    indexed(indexer, own / "second", own / "second-best")
    shutil.rmtree(own / "second-best" / "red")
    assert remove_gone(index, [str(own / "second")]) == 0


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
    assert remove_gone(index, [str(manifest)]) == 1
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
