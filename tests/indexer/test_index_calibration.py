"""A bundle without calibration data is calibrated on a sample of its index when a job ends."""

import logging
import shutil
from pathlib import Path

import make
import numpy as np
import pytest
from commands import Command

from indexer import index_calibration
from indexer.index_calibration import calibrate
from indexer.migrate import migrate
from retrieval.analysis.calibration import ScoreThresholds
from retrieval.bundle import Bundle, load_bundle, write_bundle
from retrieval.bundle_format import CalibrationData, Pairs
from retrieval.cancellation import CancellationToken
from retrieval.current_model import open_searcher
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import IndexWriteFailed
from retrieval.index import Payload, Point, VectorIndex, open_store
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import photo_id
from retrieval.search import SearchParameters
from retrieval.settings import Settings


def calibration(settings: Settings, bundle: Bundle) -> CalibrationData | None:
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
        return index.calibration()


def fill(index: VectorIndex, labels: list[str | None], first: int = 0) -> None:
    rng = np.random.default_rng(first)
    for number, label in enumerate(labels, start=first):
        vector = rng.normal(size=index.dimension).astype(np.float32)
        uri = f"file:///gone/{number}.jpg"
        payload = Payload(uri, label, f"{number:064x}", 64, 48, 1, "t", "t")
        index.upsert([Point(photo_id(uri), vector / np.linalg.norm(vector), payload)])


def test_a_job_calibrates_an_index_and_search_and_duplicates_use_it(
    command: Command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    made = load_bundle(bundle.folder)
    assert command("index", library, "--bundle", bundle.folder).status == 0
    data = calibration(settings, bundle)
    assert data.calibrated_on == "index" and data.gallery == 24
    assert set(data.photos.same_label) == {True, False}
    assert len(data.copies.kind) == 120 and min(data.copies.kind) > -1
    assert load_bundle(settings.models_folder / bundle.model_id).manifest == made.manifest
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        assert searcher.thresholds.close_match() == ScoreThresholds(data, searcher.parts).close_match(24)
        photo = next(library.rglob("*.jpg"))
        assert searcher.by_photo(photo.read_bytes(), SearchParameters()).close_match is not None
        threshold = ScoreThresholds(data, searcher.parts).duplicates(24)
    found = command("duplicates", "--json").json
    assert (found["calibrated_on"], found["threshold"]) == ("index", pytest.approx(threshold, abs=1e-6))
    assert command("duplicates", "--min-score", "0.9", "--json").json["calibrated_on"] is None


def test_an_index_of_two_parts_is_calibrated_by_both(
    command: Command, settings: Settings, library: Path, tmp_path: Path
) -> None:
    two = make.bundle(tmp_path / "two", look=6)
    assert command("index", library, "--bundle", two.folder, "--label-from", "none").status == 0
    data = calibration(settings, two)
    assert data.photos.same_label is None
    assert len(data.photos.kind) == len(data.photos.look) > 0
    assert len(data.copies.kind) == len(data.copies.look) == 120


def test_a_bundle_with_calibration_data_is_not_calibrated_again(
    command: Command, settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version", "files"})
    fields["calibration_data"] = CalibrationData(
        calibrated_on="validation", gallery=30, photos=Pairs(kind=[0.5] * 3, query=[0] * 3)
    )
    measured = write_bundle(tmp_path / "measured", bundle.network, **fields)
    assert command("index", library, "--bundle", measured.folder).status == 0
    assert calibration(settings, measured) is None
    assert command("duplicates", "--json").json["calibrated_on"] == "validation"


def test_few_photos_are_no_sample(command: Command, settings: Settings, bundle: Bundle, library: Path) -> None:
    assert command("index", library / "red", "--bundle", bundle.folder).status == 0
    assert calibration(settings, bundle) is None
    found = command("duplicates", "--json").json
    assert (found["calibrated_on"], found["threshold"]) == (None, 0.999)


def test_it_is_repeated_when_the_index_has_doubled_or_its_photos_get_labels(
    index: VectorIndex, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, decoder = Embedder(bundle, threads=1), PhotoDecoder()
    fill(index, [None] * 30)
    calibrate(index, embedder, decoder)
    first = index.calibration()
    assert (first.gallery, first.photos.same_label, first.copies) == (30, None, None)  # no file can be read
    fill(index, [None] * 25, first=30)
    calibrate(index, embedder, decoder)
    assert index.calibration() == first
    fill(index, [None] * 10, first=55)
    calibrate(index, embedder, decoder)
    assert index.calibration().gallery == 65
    fill(index, ["rose", "tulip"] * 20, first=0)  # of the same photos
    calibrate(index, embedder, decoder)
    labelled = index.calibration()
    assert labelled.gallery == 40 and labelled.photos.same_label is not None
    calibrate(index, embedder, decoder)
    assert index.calibration() == labelled
    monkeypatch.setattr(index_calibration, "SAMPLE", 50)
    fill(index, ["rose", "tulip"] * 60, first=100)
    calibrate(index, embedder, decoder)
    assert index.calibration() == labelled, "the sample can't double"


def test_copies_of_a_file_are_one_photo_of_the_sample(
    command: Command, settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copytree(library, tmp_path / "twice" / name)
    assert command("index", tmp_path / "twice", "--bundle", bundle.folder, "--label-from", "none").status == 0
    assert calibration(settings, bundle).gallery == 24


def test_a_job_does_not_fail_if_the_calibration_can_not_be_saved(
    index: VectorIndex, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: CalibrationData) -> None:
        raise IndexWriteFailed("Qdrant refused (status 400).")

    fill(index, [None] * 30)
    monkeypatch.setattr(index, "save_calibration", refuse)
    with caplog.at_level(logging.WARNING, "lookalike"):
        calibrate(index, Embedder(bundle, threads=1), PhotoDecoder())
    assert f"The scores of {bundle.model_id} could not be calibrated. Qdrant refused" in caplog.text


def test_a_damaged_calibration_is_none(settings: Settings, index: VectorIndex, bundle: Bundle) -> None:
    (settings.index_folder / bundle.model_id / "calibration.json").write_text('{"gallery": ')
    assert index.calibration() is None


def test_a_migration_copies_the_calibration(
    command: Command, settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    assert command("index", library, "--bundle", bundle.folder).status == 0
    with EmbeddedStore(tmp_path / "other") as other:
        with open_store(settings) as store:
            migrate(settings, store, other, CancellationToken(), lambda seen, total: None)
        with other.open(bundle.model_id, bundle.dimension) as index:
            copied = index.calibration()
    assert copied is not None and copied == calibration(settings, bundle)
