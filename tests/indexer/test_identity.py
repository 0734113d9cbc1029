"""Which point a photo is: photos that move keep theirs, and the names of one file share one."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest

from indexer.batch import BatchIndexer
from indexer.exclusions import adopt_exclusions, exclude_photo, restore_excluded
from indexer.index_sources import forget_source, list_indexed_sources
from indexer.removal import remove_gone
from indexer.removed_photos import forget_removed, remove_photos, restore_photo
from indexer.source_record import SourceRecord, save_records
from indexer.sources import list_sources
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import NotFound
from retrieval.index import IndexStore, Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import photo_id, uri_of


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A library of six photos that a test may change."""
    return make.library(tmp_path / "photos", per_label=2)


def run(indexer: BatchIndexer, *sources: Path) -> tuple[int, int, int, int]:
    """Index sources; return how many photos were seen, indexed, unchanged and moved."""
    results = list(indexer.run(list_sources([str(source) for source in sources])))
    assert not any(result.failures for result in results)
    counts = ("seen", "indexed", "unchanged", "moved")
    seen, indexed, unchanged, moved = (sum(getattr(result, name) for result in results) for name in counts)
    assert seen == indexed + unchanged + moved
    return seen, indexed, unchanged, moved


def by_content(index: VectorIndex) -> dict[str, tuple[object, str | None]]:
    return {payload.sha256: (photo, payload.label) for photo, payload in index.scroll_payloads()}


def photo_at(index: VectorIndex, path: Path) -> IndexedPhoto:
    return index.named([uri_of(path)])[uri_of(path)]


def test_photos_of_a_renamed_library_keep_their_points(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(own / "red" / "0.jpg", own / "copy.jpg")
    (own / "alone.jpg").write_bytes(make.encoded(make.photo("blue", 9)))
    run(indexer, own)
    before = dict(index.scroll_payloads())
    renamed = own.rename(own.with_name("pictures"))
    monkeypatch.setattr(Embedder, "embed", None)
    assert run(indexer, renamed) == (8, 0, 0, 8)
    after = dict(index.scroll_payloads())
    assert {photo: (payload.sha256, payload.label) for photo, payload in after.items()} == {
        photo: (payload.sha256, payload.label) for photo, payload in before.items()
    }
    assert {payload.uri.replace("/pictures/", "/photos/") for payload in after.values()} == {
        payload.uri for payload in before.values()
    }
    assert photo_at(index, renamed / "alone.jpg").payload.label == "photos"
    assert run(indexer, renamed) == (8, 0, 8, 0)
    assert dict(index.scroll_payloads()) == after


def test_a_photo_in_the_old_place_of_another_is_another(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    place = own / "red" / "0.jpg"
    first = photo_at(index, place)
    elsewhere = place.rename(own.parent / "elsewhere.jpg")
    place.write_bytes(make.encoded(make.photo("blue", 9)))
    manifest = own.parent / "list.csv"
    manifest.write_text("path,label\nelsewhere.jpg,red\nphotos/red/0.jpg,blue\n")
    assert run(indexer, manifest) == (2, 1, 0, 1)
    moved, other = photo_at(index, elsewhere), photo_at(index, place)
    assert moved.id == first.id == photo_id(uri_of(place))
    assert other.id == photo_id(uri_of(place), other.payload.sha256)
    assert (moved.payload.label, other.payload.label) == ("red", "blue")
    assert index.count() == 7
    assert run(indexer, manifest) == (2, 0, 2, 0)


def test_a_copy_is_a_photo(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    shutil.copytree(own, own.parent / "copy")
    assert run(indexer, own.parent / "copy") == (6, 6, 0, 0)
    assert index.count() == 12


def test_of_two_copies_of_a_moved_photo_one_has_moved(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own / "red")
    (own / "red" / "0.jpg").rename(own / "blue" / "moved.jpg")
    shutil.copy(own / "blue" / "moved.jpg", own / "green" / "copy.jpg")
    assert run(indexer, own / "blue", own / "green") == (6, 5, 0, 1)
    assert index.count() == 7


@pytest.mark.parametrize("after", ["photos/blue/0.jpg", "pictures/red/x.jpg", "pictures/0.jpg"])
def test_a_moved_photo_keeps_its_label(after: str, tmp_path: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    make.library(tmp_path / "photos", per_label=1, labels=("red", "green"))
    run(indexer, tmp_path / "photos")
    photo = photo_at(index, before := tmp_path / "photos/red/0.jpg")
    (tmp_path / after).parent.mkdir(parents=True, exist_ok=True)
    before.rename(tmp_path / after)
    source = tmp_path / after.partition("/")[0]
    run(indexer, source)
    moved = photo_at(index, tmp_path / after)
    assert (moved.id, moved.payload.label) == (photo.id, "red")
    run(indexer, source)
    assert photo_at(index, tmp_path / after) == moved


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_names_of_one_file_are_one_photo(link: object, own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    for name in ("first.jpg", "zlast.jpg"):
        link(own / "green" / "0.jpg", own / "green" / name)
        link(own / "green" / "0.jpg", own / "red" / name)
    run(indexer, own)
    assert index.count() == 6
    photo = photo_at(index, own / "green" / "0.jpg")
    assert photo.payload.uri == uri_of(own / "green" / "0.jpg")
    assert set(photo.payload.also_at) == {
        uri_of(own / label / name) for label in ("green", "red") for name in ("first.jpg", "zlast.jpg")
    }
    assert photo_at(index, own / "red" / "zlast.jpg") == photo
    assert run(indexer, own) == (10, 0, 10, 0)
    assert not any(result.labels_kept for result in indexer.run(list_sources([str(own)])))
    assert photo_at(index, own / "green" / "0.jpg") == photo


def test_a_hard_link_stays_when_the_first_name_is_deleted(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    os.link(own / "red" / "0.jpg", own / "red" / "link.jpg")
    run(indexer, own)
    photo = photo_at(index, own / "red" / "0.jpg")
    (own / "red" / "0.jpg").unlink()
    assert run(indexer, own) == (6, 0, 5, 1)
    left = photo_at(index, own / "red" / "link.jpg")
    assert (left.id, left.payload.uri, left.payload.also_at) == (photo.id, uri_of(own / "red" / "link.jpg"), ())


def test_a_link_that_became_a_file_is_a_photo(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    (own / "red" / "link.jpg").symlink_to(own / "red" / "0.jpg")
    run(indexer, own)
    (own / "red" / "link.jpg").unlink()
    (own / "red" / "link.jpg").write_bytes(make.encoded(make.photo("blue", 9)))
    assert run(indexer, own) == (7, 1, 6, 0)
    assert index.count() == 7
    assert photo_at(index, own / "red" / "link.jpg").id != photo_at(index, own / "red" / "0.jpg").id


def test_a_photo_knows_its_sources(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    assert run(indexer, own / "red") == (2, 0, 2, 0)
    sources = photo_at(index, own / "red" / "0.jpg").payload.sources
    assert sources == (f"{uri_of(own)}/", f"{uri_of(own / 'red')}/")


def test_photos_of_an_older_version_stay_as_they_are(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    old = {photo: replace(payload, sources=()) for photo, payload in index.scroll_payloads()}
    index.replace_payloads(old)
    assert run(indexer, own) == (6, 0, 6, 0)
    assert dict[object, Payload](index.scroll_payloads()) == old


def test_a_photo_that_comes_back_is_not_embedded(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(indexer, own)
    before = photo_at(index, own / "red" / "0.jpg")
    vector = index.vectors([before.id])[before.id]
    (own / "red" / "0.jpg").rename(own.parent / "away.jpg")
    assert remove_gone(index, [str(own)]).removed == 1
    assert index.count() == 5
    (own.parent / "away.jpg").rename(own / "red" / "back.jpg")
    monkeypatch.setattr(Embedder, "embed", None)
    assert run(indexer, own) == (6, 1, 5, 0)
    after = photo_at(index, own / "red" / "back.jpg")
    assert (after.id, after.payload.removed_at, after.payload.removed_by) == (before.id, None, None)
    np.testing.assert_allclose(index.vectors([after.id])[after.id], vector, atol=1e-6)
    assert index.removed().count() == 0


def test_a_photo_that_a_person_removed_stays_out_until_it_is_restored(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    photo = photo_at(index, own / "red" / "0.jpg")
    remove_photos(index, [photo], "person")
    assert run(indexer, own) == (5, 0, 5, 0)
    (own / "red" / "0.jpg").rename(own / "red" / "moved.jpg")
    (result,) = indexer.run(list_sources([str(own)]))
    assert (result.seen, result.excluded) == (5, (uri_of(own / "red" / "moved.jpg"),))
    assert forget_removed(index, 0) == 0
    (own / "red" / "moved.jpg").rename(own / "red" / "0.jpg")
    assert restore_photo(index, photo.id) == photo
    assert run(indexer, own) == (6, 0, 6, 0)
    with pytest.raises(NotFound):
        restore_photo(index, photo.id)


def test_another_photo_in_the_place_of_a_removed_one_is_indexed(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    place = own / "red" / "0.jpg"
    remove_photos(index, [photo_at(index, place)], "person")
    os.utime(place, (1, 1))
    assert run(indexer, own) == (5, 0, 5, 0)
    place.write_bytes(make.encoded(make.photo("blue", 9)))
    assert run(indexer, own) == (6, 1, 5, 0)


def test_a_restored_photo_gets_another_id_if_its_own_is_taken(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    photo = photo_at(index, own / "red" / "0.jpg")
    remove_photos(index, [photo], "sync")
    place = own / "red" / "0.jpg"
    place.write_bytes(make.encoded(make.photo("blue", 9)))
    assert run(indexer, own) == (6, 1, 5, 0)
    index.replace_payloads({photo.id: replace(photo_at(index, place).payload, uri="file:///elsewhere.jpg")})
    assert restore_photo(index, photo.id).id == photo_id(uri_of(place), photo.payload.sha256)
    assert index.count() == 7


def test_removed_photos_are_forgotten_after_some_days(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    remove_photos(index, [photo_at(index, own / "red" / "0.jpg")], "sync")
    assert forget_removed(index, 1) == 0
    assert forget_removed(index, 0) == 1
    assert index.removed().count() == 0


def test_a_source_that_is_forgotten_takes_its_photos_along(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own / "red", own / "green")
    run(indexer, own)
    shutil.move(own / "red", own.parent / "elsewhere")
    sources, removed = list_indexed_sources(index)
    assert [(one.photos, one.exists) for one in sources] == [(6, True), (2, True), (2, False)]
    assert (removed.by_sync, removed.by_person) == (0, 0)
    assert forget_source(index, str(own / "red"), keep=True) == 0
    assert forget_source(index, str(own), keep=True) == 4
    assert index.count() == 2
    assert list_indexed_sources(index)[1].by_sync == 4
    with pytest.raises(NotFound):
        forget_source(index, str(own / "nowhere"), keep=True)


def test_a_copy_of_a_photo_on_an_unmounted_share_has_not_moved(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    """As if red/ were the mount point of a share that is not mounted now."""
    run(indexer, own)
    (own / "red" / "0.jpg").rename(own / "green" / "copy.jpg")
    record = SourceRecord(photos=6, indexed_at="", mounts=(f"{uri_of(own / 'red')}/",))
    save_records(index, {f"{uri_of(own)}/": record})
    assert run(indexer, own / "green") == (3, 1, 2, 0)
    assert index.count() == 7


def renumber(places: list[Path], order: list[int]) -> None:
    """Give each of these files the name of another one."""
    contents = [place.read_bytes() for place in places]
    for place, number in enumerate(order):
        if place != number:
            places[place].write_bytes(contents[number])


def numbered(folder: Path, count: int) -> list[Path]:
    """Photos 000.jpg, 001.jpg …, in folders of labels that sort after each other."""
    folder.mkdir()
    places = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, place in enumerate(places):
        place.write_bytes(make.encoded(make.photo(seed=number)))
    return places


def relabel(index: VectorIndex) -> None:
    """Give each photo a label that its source does not give, as a correction does."""
    index.replace_payloads(
        {photo: replace(one, label=f"of {one.sha256[:8]}") for photo, one in index.scroll_payloads()}
    )


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("order", [[1, 0, 2], [9, *range(9)]])
def test_renumbered_photos_keep_their_points(
    order: list[int], batch: int, tmp_path: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch
) -> None:
    places = numbered(tmp_path / "photos", len(order))
    run(indexer, tmp_path / "photos")
    relabel(index)
    before = by_content(index)
    vectors = index.vectors([*dict(index.scroll_payloads())])
    renumber(places, order)
    monkeypatch.setattr(Embedder, "embed", None)
    monkeypatch.setattr(indexer, "_batch", batch)
    moved = sum(place != number for place, number in enumerate(order))
    assert run(indexer, tmp_path / "photos") == (len(order), 0, len(order) - moved, moved)
    assert by_content(index) == before
    for place in places:
        assert photo_at(index, place).payload.sha256 == hashlib.sha256(place.read_bytes()).hexdigest()
    for photo, vector in index.vectors([*vectors]).items():
        np.testing.assert_allclose(vector, vectors[photo], atol=1e-6)
    forget_removed(index, 30)
    assert not index.has_removed() or index.removed().count() == 0
    assert run(indexer, tmp_path / "photos") == (len(order), 0, len(order), 0)


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize("elsewhere", ["0.jpg", "zzz.jpg"])
def test_a_photo_in_the_place_of_another_takes_nothing_over(
    elsewhere: str, batch: int, tmp_path: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch
) -> None:
    """The former photo is listed before the place, or after it."""
    places = numbered(tmp_path / "photos", 4)
    run(indexer, tmp_path / "photos")
    relabel(index)
    first = photo_at(index, places[1])
    places[1].rename(tmp_path / "photos" / elsewhere)
    places[1].write_bytes(make.encoded(make.photo("blue", 9)))
    monkeypatch.setattr(indexer, "_batch", batch)
    assert run(indexer, tmp_path / "photos") == (5, 1, 3, 1)
    moved, other = photo_at(index, tmp_path / "photos" / elsewhere), photo_at(index, places[1])
    assert (moved.id, moved.payload.label) == (first.id, first.payload.label)
    assert (other.id, other.payload.label) == (photo_id(uri_of(places[1]), other.payload.sha256), "photos")
    np.testing.assert_allclose(index.vectors([moved.id])[moved.id], index.vectors([first.id])[first.id], atol=1e-6)
    assert index.count() == 5
    assert run(indexer, tmp_path / "photos") == (5, 0, 5, 0)


def test_a_changed_photo_keeps_its_id_and_its_former_version_is_forgotten(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    place = own / "red" / "0.jpg"
    before = photo_at(index, place)
    content = place.read_bytes()
    for data in (make.encoded(make.photo("blue", 9)), make.encoded(make.photo("green", 9)), content):
        place.write_bytes(data)
        run(indexer, own)
        after = photo_at(index, place)
        assert (after.id, after.payload.sha256) == (before.id, hashlib.sha256(data).hexdigest())
        assert index.removed().count() == 1
        assert forget_removed(index, 30) == 0
        assert index.removed().count() == 0
    assert index.count() == 6


def test_a_photo_that_another_one_overwrote_is_kept_like_a_removed_one(
    own: Path, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(indexer, own)
    over, place = photo_at(index, own / "red" / "1.jpg"), own / "red" / "0.jpg"
    gone, content = photo_at(index, place), place.read_bytes()
    (own / "red" / "1.jpg").rename(place)
    monkeypatch.setattr(Embedder, "embed", None)
    assert run(indexer, own) == (5, 0, 4, 1)
    assert photo_at(index, place).id == over.id
    assert forget_removed(index, 30) == 0
    assert list_indexed_sources(index)[1].by_sync == 1
    (own / "red" / "again.jpg").write_bytes(content)
    assert run(indexer, own) == (6, 1, 5, 0)
    assert photo_at(index, own / "red" / "again.jpg").id == gone.id


def test_a_photo_that_a_person_removed_stays_out_in_the_place_of_another(
    own: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    removed, place = own / "red" / "0.jpg", own / "red" / "1.jpg"
    remove_photos(index, [photo_at(index, removed)], "person")
    other = photo_at(index, place)
    place.rename(own / "red" / "2.jpg")
    removed.rename(place)
    (result,) = indexer.run(list_sources([str(own)]))
    assert (result.seen, result.moved, result.excluded) == (5, 1, (uri_of(place),))
    assert photo_at(index, own / "red" / "2.jpg").id == other.id
    assert index.count() == 5


def test_removed_photos_of_one_id_are_both_kept(own: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, own)
    place = own / "red" / "0.jpg"
    contents = [place.read_bytes(), make.encoded(make.photo("blue", 9))]
    for content in contents:
        place.write_bytes(content)
        run(indexer, own)
        remove_photos(index, [photo_at(index, place)], "person")
    assert index.removed().count() == 2
    for content in contents:
        place.write_bytes(content)
        assert run(indexer, own) == (5, 0, 5, 0)


def test_what_a_person_removed_stays_out_of_the_index_of_another_model(
    own: Path, tmp_path: Path, store: IndexStore, indexer: BatchIndexer, index: VectorIndex
) -> None:
    run(indexer, own)
    store.activate_first(index.model)
    place = own / "red" / "0.jpg"
    photo = photo_at(index, place)
    other = make.bundle(tmp_path / "other", seed=3)
    with (
        store.open(other.model_id, other.dimension) as second,
        BatchIndexer(Embedder(other, threads=1), second, PhotoDecoder()) as making,
    ):
        assert run(making, own / "green") == (2, 2, 0, 0)
        green = photo_at(index, own / "green" / "0.jpg")
        for one in (photo, green):
            exclude_photo(index, one)
        adopt_exclusions(store, second)
        assert second.count() == 1
        assert run(making, own) == (4, 3, 1, 0)
        (result,) = making.run(list_sources([str(own)]))
        assert set(result.excluded) == {photo.payload.uri, green.payload.uri}
        assert restore_excluded(second, photo.id).payload.uri == photo.payload.uri
        assert run(making, own) == (5, 0, 5, 0)
        assert second.count() == 5
