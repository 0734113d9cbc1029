"""`lookalike duplicates` and `lookalike doubtful` on a library with a few of each."""

import json
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest

from indexer.duplicates import find_duplicates
from indexer.gallery import Gallery
from indexer.jobs import IndexRequest
from indexer.label_issues import find_doubtful
from indexer.map import load_map, run_map
from retrieval.bundle import Bundle
from retrieval.bundle_format import Part, PartName
from retrieval.cancellation import CancellationToken
from retrieval.current_model import open_searcher
from retrieval.explain import explain
from retrieval.index import Payload, edge, open_store
from retrieval.parts import Parts
from retrieval.photo_ref import path_of
from retrieval.settings import Settings


@pytest.fixture
def own_library(library: Path, tmp_path: Path) -> Path:
    """A copy with one file twice, one photo encoded twice, and a red photo among the blue."""
    folder = tmp_path / "library"
    shutil.copytree(library, folder)
    shutil.copy(folder / "red" / "0.jpg", folder / "red" / "same file.jpg")
    (folder / "green" / "again.jpg").write_bytes(make.encoded(make.photo("green", 3), quality=96))
    (folder / "blue" / "misplaced.jpg").write_bytes(make.encoded(make.photo("red", 77)))
    return folder


def test_identical_and_near_identical_photos_are_listed(command, own_library: Path, bundle: Bundle) -> None:
    assert command("index", own_library, "--bundle", bundle.folder).status == 0
    found = command("duplicates", "--min-score", 0.9999, "--json").json
    assert (found["photos"], found["threshold"]) == (27, 0.9999)
    (identical,) = found["identical"]
    assert [path_of(uri).name for uri in identical["photos"]] == ["0.jpg", "same file.jpg"]
    nearest = found["near_identical"][0]
    assert {path_of(uri).name for uri in nearest["photos"]} == {"3.jpg", "again.jpg"}
    assert nearest["labels"] == ["green", "green"]
    assert 0.9999 <= nearest["score"] <= 1
    scores = [group["score"] for group in found["near_identical"]]
    assert scores == sorted(scores, reverse=True)
    shown = command("duplicates", "--min-score", 0.9999)
    assert "same file.jpg" in shown.out
    assert "again.jpg" in shown.out


def test_misplaced_photos_come_first(command, own_library: Path, bundle: Bundle) -> None:
    assert command("index", own_library, "--bundle", bundle.folder).status == 0
    found = command("doubtful", "--voters", 5, "--json").json
    assert found["photos"] == 27
    assert found["doubtful"] == len(found["results"])
    first = found["results"][0]
    assert path_of(first["uri"]).name == "misplaced.jpg"
    assert (first["label"], first["suggested"]) == ("blue", "red")
    assert first["confidence"] > first["support"]
    assert "misplaced.jpg" in command("doubtful", "--voters", 5, "--limit", 1).out


@pytest.mark.slow
def test_queues_are_counted_and_listed(command, own_library: Path, bundle: Bundle) -> None:
    assert command("index", own_library, "--bundle", bundle.folder).status == 0
    counts = command("queues", "--json").json["queues"]
    assert counts["duplicates"] >= 1 and counts["unlabelled"] == counts["informative"] == 0
    found = command("queues", "duplicates", "--json").json
    assert found["total"] == counts["duplicates"] == len(found["results"])
    first = found["results"][0]
    assert {path_of(first[name]).name for name in ("uri", "duplicate_of")} == {"0.jpg", "same file.jpg"}
    assert first["reason"] == "The same file is indexed under another name."
    shown = command("queues", "mislabelled", "--limit", 1)
    assert "misplaced.jpg: " in shown.out and "for red" in shown.out
    assert "No photo waits in this queue." in command("queues", "unlabelled").out


@pytest.mark.parametrize("name", ["duplicates", "doubtful", "queues"])
def test_without_an_index_there_is_a_sentence(command, name: str) -> None:
    called = command(name)
    assert called.status == 1
    assert "No photos have been indexed yet" in called.err


def gallery(vectors: np.ndarray, labels: list[str | None]) -> Gallery:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    photos = [
        Payload(f"file:///{number}.jpg", label, f"{number:064x}", 1, 1, 1, "t", "t")
        for number, label in enumerate(labels)
    ]
    ids = [uuid.UUID(int=number) for number in range(len(photos))]
    return Gallery(photos, unit, Parts([Part(name="kind", length=unit.shape[1], weight=1)]), ids)


def test_one_photo_has_no_duplicate_and_no_doubt() -> None:
    alone = gallery(np.ones((1, 4)), ["a"])
    assert find_duplicates(alone, 0.999).near_identical == []
    assert find_doubtful(alone) == []


def test_near_identical_photos_form_groups_with_their_lowest_score() -> None:
    degrees = np.radians([0, 3, 6, 50, 53, 120])
    circle = gallery(np.stack([np.cos(degrees), np.sin(degrees)], axis=1), ["a", "b", None, "c", "c", "d"])
    pair, three = find_duplicates(circle, float(np.cos(np.radians(4)))).near_identical
    assert three.photos == ["file:///0.jpg", "file:///1.jpg", "file:///2.jpg"]
    assert three.labels == ["a", "b", None]
    assert three.score == pytest.approx(np.cos(np.radians(6)), abs=1e-5)
    assert pair.photos == ["file:///3.jpg", "file:///4.jpg"]
    assert pair.score == pytest.approx(np.cos(np.radians(3)), abs=1e-5)


def test_duplicates_are_found_by_look_and_label_issues_by_kind() -> None:
    kinds = np.eye(2)[[0, 0, 0, 1, 1, 1]]
    looks = np.eye(6)[[0, 1, 2, 0, 4, 5]]
    parts = Parts([Part(name="kind", length=2, weight=0.5), Part(name="look", length=6, weight=0.5)])
    like = gallery(np.ones((6, 8)), ["a", "a", "b", "b", "b", "b"])
    embeddings = (np.hstack([kinds, looks]) / np.sqrt(2)).astype(np.float32)
    both = Gallery(like.photos, embeddings, parts, like.ids)
    (group,) = find_duplicates(both, 0.9).near_identical
    assert group.photos == ["file:///0.jpg", "file:///3.jpg"]
    assert [uri for uri, _ in find_doubtful(both, voters=2)] == ["file:///2.jpg"]


def test_photos_without_label_neither_vote_nor_are_doubtful() -> None:
    mixed = gallery(np.random.default_rng(0).uniform(size=(20, 4)), [None] * 18 + ["a", "b"])
    assert {uri for uri, _ in find_doubtful(mixed)} == {"file:///18.jpg", "file:///19.jpg"}


def test_a_confirmed_label_is_not_doubtful() -> None:
    found = gallery(np.array([[1, 0], [1, 0.1], [1, -0.1]]), ["a", "a", "b"])
    assert [uri for uri, _ in find_doubtful(found)] == ["file:///2.jpg"]
    found.photos[2] = replace(found.photos[2], confirmed=True)
    assert find_doubtful(found) == []


def test_a_draw_is_no_doubt() -> None:
    drawn = gallery(np.array([[1, 0], [1, 0.1], [1, -0.1]]), ["a", "a", "b"])
    assert "file:///0.jpg" not in {uri for uri, _ in find_doubtful(drawn, voters=2)}


@pytest.mark.slow
def test_a_job_ends_with_a_graph_where_photos_are_many(
    command, library: Path, bundle: Bundle, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.EmbeddedIndex, "FULL_SCAN_POINTS", 10)
    assert command("index", library, "--bundle", bundle.folder).status == 0
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.count() == 24
        assert not index.optimize()
    assert command("crosscheck", "--json").json["recall_at_k"] == 1


def test_many_photos_in_one_process_are_advised(
    command, library: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("index", library, "--bundle", bundle.folder).status == 0
    monkeypatch.setattr(edge, "MANY_POINTS", 20)
    (check,) = (check for check in command("doctor", "--json").json["checks"] if check["name"] == "index")
    assert check["status"] == "warning"
    assert "24 photos are many" in check["remedy"]
    assert "lookalike migrate --to server" in check["remedy"]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["look", "kind"])
def test_a_model_of_one_part_uses_it_for_everything(
    command, settings: Settings, own_library: Path, part: PartName, tmp_path: Path
) -> None:
    bundle = make.bundle(tmp_path / part, part=part)
    assert command("index", own_library, "--bundle", bundle.folder).status == 0
    found = command("duplicates", "--min-score", 0.9999, "--json").json
    assert {path_of(uri).name for uri in found["near_identical"][0]["photos"]} == {"3.jpg", "again.jpg"}
    assert 0 < command("duplicates", "--json").json["threshold"] <= 1
    doubtful = command("doubtful", "--voters", 5, "--json").json
    assert path_of(doubtful["results"][0]["uri"]).name == "misplaced.jpg"
    searched = command("search", own_library / "green" / "1.jpg", "--json").json
    assert searched["predicted_label"]["label"] == "green" and searched["look"] is None
    assert all(result["scores"] is None for result in searched["results"])
    refused = command("search", own_library / "green" / "1.jpg", "--look", 0.5)
    assert refused.status == 1 and f"has one part, {part}" in refused.err
    with open_store(settings) as store:
        run_map(settings, store, IndexRequest((), kind="map"), CancellationToken(), lambda _: None)
    assert len(json.loads(load_map(settings, bundle.model_id))["points"]["id"]) == 27
    (model,) = command("models", "list", "--json").json["models"]
    assert model["points"] == 27
    assert command("models", "activate", bundle.model_id, "--json").json["evaluation"]["map_at_r"] > 0.5
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        one, other = ((own_library / "green" / name).read_bytes() for name in ("1.jpg", "2.jpg"))
        explained = explain(searcher.embedder, searcher.decoder, one, other)
        assert explained.query.contributions.sum() == pytest.approx(explained.score, abs=1e-5)
