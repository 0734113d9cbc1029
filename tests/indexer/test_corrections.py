"""Corrected photos keep their corrections in every job, and the log of corrections is read and written safely."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import make
import pytest
from disks import small_disk

from indexer.batch import BatchIndexer, now
from indexer.correction_log import Correction, CorrectionLog, DamagedLine, line_of, parsed, read_corrections
from indexer.corrections import Corrections, PhotoChange
from indexer.removal import remove_gone
from indexer.sources import list_sources
from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import LookalikeError, PhotoChanged
from retrieval.index import IndexStore, Payload, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.photo_ref import uri_of

TULIP = PhotoChange(label="tulip", columns={"price": 3, "shop": None})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A library of a red and a green photo that a test may change."""
    return make.library(tmp_path / "photos", per_label=1, labels=("red", "green"))


@pytest.fixture
def corrections(tmp_path: Path) -> Corrections:
    return Corrections(tmp_path / "home")


@pytest.fixture
def indexer(bundle: Bundle, index: VectorIndex, corrections: Corrections) -> Iterator[BatchIndexer]:
    with BatchIndexer(Embedder(bundle, threads=1), index, PhotoDecoder(), corrections=corrections) as made:
        yield made


def run(indexer: BatchIndexer, *sources: Path, relabel: bool = False) -> tuple[int, int, int]:
    """Index sources; return how many photos were indexed, unchanged and moved."""
    photos = list_sources([str(source) for source in sources])
    if relabel:
        photos = (replace(photo, label_is_default=False) for photo in photos)
    (result,) = indexer.run(photos)
    assert not result.failures and not result.labels_kept
    return result.indexed, result.unchanged, result.moved


def at(index: VectorIndex, path: Path) -> IndexedPhoto:
    return index.named([uri_of(path)])[uri_of(path)]


def said(photo: Payload) -> tuple[str | None, object, bool]:
    return photo.label, photo.extra.get("price"), photo.confirmed


def test_a_correction_wins_over_folders_and_manifests(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    place, manifest = own / "red" / "0.jpg", own / "list.jsonl"
    run(indexer, own)
    corrections.correct(index, at(index, place).id, TULIP, "ana")
    assert run(indexer, own) == (0, 2, 0)
    assert run(indexer, own, relabel=True) == (0, 2, 0)
    manifest.write_text('{"path": "red/0.jpg", "label": "rose", "price": 9, "shop": "Oslo", "size": "XL"}\n')
    run(indexer, manifest)
    assert said(at(index, place).payload) == ("tulip", 3, True)
    assert at(index, place).payload.extra == {"price": 3, "size": "XL"}
    assert at(index, place).payload.columns["number_price"] == 3
    assert run(indexer, manifest) == (0, 1, 0)
    assert said(at(index, own / "green" / "0.jpg").payload) == ("green", None, False)


def test_a_correction_that_was_only_recorded_is_kept_by_the_next_one(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    """As after a kill between log and index, or an import while another process has the index open."""
    place = own / "red" / "0.jpg"
    run(indexer, own)
    seen = at(index, place)
    content = seen.payload.sha256
    corrections.log.append([Correction("2024-05-31T00:00:00+00:00", "ana", content, "red", "tulip", "red", {}, True)])
    with pytest.raises(PhotoChanged, match="now its label is tulip, confirmed"):
        corrections.correct(index, seen.id, PhotoChange(label="rose"), expected=lambda _: False)
    assert said(at(index, place).payload) == ("tulip", None, True)
    corrections.log.append([Correction("2024-06-01T00:00:00+00:00", "ana", content, "red", "lily", "red", {}, True)])
    corrections.correct(index, seen.id, PhotoChange(columns={"price": 3}))
    assert said(at(index, place).payload) == ("lily", 3, True)
    last = corrections.log.latest()[content]
    assert (last.new, last.original, last.columns, last.confirmed) == ("lily", "red", {"price": 3}, True)


@pytest.mark.parametrize("by_job", [True, False])
def test_a_correction_whose_withdrawal_was_only_recorded_is_withdrawn(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections, by_job: bool
) -> None:
    place = own / "red" / "0.jpg"
    run(indexer, own)
    seen = corrections.correct(index, at(index, place).id, PhotoChange("tulip"))
    withdrawn = Correction(corrections.log.next_time(seen.sha256), None, seen.sha256, "tulip", "red", "red")
    corrections.log.append([withdrawn])
    if by_job:
        run(indexer, own)
    else:
        corrections.correct(index, at(index, place).id, PhotoChange(columns={"price": 3}))
    assert said(at(index, place).payload) == ("red", None if by_job else 3, False)
    assert not corrections.sets_label(at(index, place).payload)


def test_a_correction_follows_a_photo_that_moves_goes_and_comes_back(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    run(indexer, own)
    place = own / "red" / "0.jpg"
    corrections.correct(index, at(index, place).id, TULIP)
    place = place.rename(own / "green" / "moved.jpg")
    assert run(indexer, own) == (0, 1, 1)
    assert said(at(index, place).payload) == ("tulip", 3, True)
    aside = place.rename(own.parent / "aside.jpg")
    assert remove_gone(index, [str(own)]).removed == 1
    (own / "blue").mkdir()
    place = aside.rename(own / "blue" / "back.jpg")
    run(indexer, own)
    assert said(at(index, place).payload) == ("tulip", 3, True)
    place.write_bytes(make.encoded(make.photo("blue", 7)))
    manifest = own / "list.csv"
    manifest.write_text("path,label\nblue/back.jpg,blue\n")
    run(indexer, manifest)
    assert at(index, place).payload.label == "blue", "another photo is in its place"
    assert not at(index, place).payload.confirmed


def test_a_correction_is_applied_with_another_model_and_to_copies(
    own: Path, tmp_path: Path, store: IndexStore, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    place, copy = own / "red" / "0.jpg", own / "green" / "copy.jpg"
    copy.write_bytes(place.read_bytes())
    run(indexer, own)
    corrections.correct(index, at(index, place).id, TULIP)
    assert said(at(index, copy).payload) == ("tulip", 3, True)
    other = make.bundle(tmp_path / "other", seed=3)
    with (
        store.open(other.model_id, other.dimension) as second,
        BatchIndexer(Embedder(other, threads=1), second, PhotoDecoder(), corrections=corrections) as making,
    ):
        run(making, own)
        assert said(at(second, place).payload) == said(at(second, copy).payload) == ("tulip", 3, True)
        assert at(second, place).payload.columns["number_price"] == 3


def test_a_withdrawn_correction_restores_the_label_and_lets_sources_change_it(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    run(indexer, own)
    place, manifest = own / "red" / "0.jpg", own / "list.csv"
    photo = at(index, place).id
    for label in ("tulip", "rose"):
        corrections.correct(index, photo, PhotoChange(label))
    last = corrections.log.of(at(index, place).payload.sha256)
    assert last is not None and (last.old, last.new, last.original) == ("tulip", "rose", "red")
    corrections.correct(index, photo, PhotoChange("red", confirmed=False))
    assert said(at(index, place).payload) == ("red", None, False)
    manifest.write_text("path,label\nred/0.jpg,poppy\n")
    run(indexer, manifest)
    assert at(index, place).payload.label == "poppy"
    corrections.correct(index, photo, PhotoChange(columns={"price": 3}))
    manifest.write_text("path,label\nred/0.jpg,daisy\n")
    run(indexer, manifest)
    assert said(at(index, place).payload) == ("daisy", 3, False), "only the column was corrected"


def test_a_photo_that_is_corrected_while_its_batch_runs_stays_corrected(
    own: Path, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    run(indexer, own)
    place, manifest = own / "red" / "0.jpg", own / "list.csv"
    manifest.write_text("path,label\nred/0.jpg,rose\n")
    prepared = indexer.prepare(list(list_sources([str(manifest)])), now())
    for group in prepared.groups:
        group.result()
    corrections.correct(index, at(index, place).id, TULIP)
    indexer.store(prepared)
    assert said(at(index, place).payload) == ("tulip", 3, True)


def test_a_worker_without_the_log_keeps_confirmed_labels(
    own: Path, tmp_path: Path, bundle: Bundle, index: VectorIndex, indexer: BatchIndexer, corrections: Corrections
) -> None:
    run(indexer, own)
    corrections.correct(index, at(index, own / "red" / "0.jpg").id, TULIP)
    place = (own / "red" / "0.jpg").rename(own / "moved.jpg")
    elsewhere = Corrections(tmp_path / "another home")
    with BatchIndexer(Embedder(bundle, threads=1), index, PhotoDecoder(), corrections=elsewhere) as other:
        run(other, own, relabel=True)
        assert said(at(index, place).payload)[::2] == ("tulip", True)


def correction(content: str, new: str | None, time: str = "2026-01-01T00:00:00.000000+00:00") -> Correction:
    return Correction(time, None, hashlib.sha256(content.encode()).hexdigest(), "red", new, "red")


def test_the_last_correction_of_a_content_by_time_counts_in_every_process(tmp_path: Path) -> None:
    log, other = CorrectionLog(tmp_path / "home"), CorrectionLog(tmp_path / "home")
    first, second = correction("a", "rose"), correction("a", "tulip", "2026-01-01T02:00:00.000000+01:00")
    assert log.latest() == other.latest() == {}
    log.append([second])
    assert other.of(first.sha256) == second
    other.append([first, correction("b", None)])
    assert log.of(first.sha256) == second and len(log.latest()) == 2
    ahead = correction("a", "daisy", "2099-01-01T00:00:00.000000+00:00")
    log.append([ahead])
    assert log.next_time(ahead.sha256) > ahead.time, "also if the clock was wrong"


def test_a_torn_line_costs_no_other_correction(tmp_path: Path) -> None:
    log = CorrectionLog(tmp_path)
    log.append([correction("a", "rose")])
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[:40])
    log.append([correction("b", "tulip")])
    first, torn, last = read_corrections(log.path)
    assert isinstance(torn, DamagedLine) and torn.line == 2
    assert CorrectionLog(tmp_path).latest() == log.latest()
    assert [first, last] == [*log.latest().values()] == [correction("a", "rose"), correction("b", "tulip")]


def test_corrections_at_the_same_time_are_all_recorded(tmp_path: Path) -> None:
    def append(number: int) -> None:
        log = CorrectionLog(tmp_path)
        with log.locked():
            log.append([correction(str(number), "rose")])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(append, range(20)))
    assert len(CorrectionLog(tmp_path).latest()) == 20


def test_a_full_disk_leaves_no_part_of_a_correction(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8192) as disk:
        log = CorrectionLog(disk)
        log.append([correction("a", "tulip")])
        before = log.path.read_bytes()
        with pytest.raises(LookalikeError, match="can't be used"):
            log.append([correction(str(number), "x" * 400) for number in range(40)])
        assert log.path.read_bytes() == before
        (disk / "other").write_bytes(b"x" * 4096)
        with pytest.raises(LookalikeError, match="can't be used"):
            log.append([correction(str(number), "x" * 400) for number in range(10)])
        assert log.path.read_bytes() == before, "a part of a page was free"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"time": "9999-12-31T23:59:59.999999+00:00"}, "time: nothing can be later"),
        ({"new": "  "}, "new: a label is one printable line"),
        ({"new": "a\nb"}, "new: a label is one printable line"),
        ({"columns": {"price": [1.0, float("inf")]}}, "columns: a number is infinite"),
    ],
)
def test_a_correction_that_would_spoil_the_photo_is_not_read(change: dict[str, Any], says: str) -> None:
    (found,) = parsed([line_of(replace(correction("a", "rose"), **change)).encode()])
    assert isinstance(found, DamagedLine) and says in found.reason


def test_a_confirmed_label_of_an_old_index_is_read_as_it_is() -> None:
    one = replace(correction("a", "rose\u0301 "), old="rose\u0301 ", original="rose\u0301 ", confirmed=True)
    assert [*parsed([line_of(one).encode()])] == [one]
