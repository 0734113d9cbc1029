"""The map of an index."""

import json
from pathlib import Path

import pytest
from serving import fill_index

from indexer import map as maps
from indexer.batch import BatchResult
from indexer.jobs import IndexRequest, cancel_job, load_job, start_record
from indexer.map import load_map, load_map_and_changes, run_map
from indexer.model_registry import open_index
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import NotFound
from retrieval.index import IndexStore
from retrieval.settings import Settings

MAP = IndexRequest(sources=(), kind="map")


def test_a_job_keeps_the_map(settings: Settings, store: IndexStore, bundle: Bundle, library: Path) -> None:
    photos = fill_index(settings, bundle, library)
    with pytest.raises(NotFound, match="has not been computed yet"):
        load_map(settings, bundle.model_id)
    begun: list[str] = []
    run_map(settings, store, MAP, CancellationToken(), lambda job: begun.append(job.id))
    job = load_job(settings, begun[0])
    assert (job.kind, job.state, job.seen) == ("map", "done", 24)
    kept = json.loads(load_map(settings, bundle.model_id))
    assert (kept["model"], kept["total"], kept["labels"]) == (bundle.model_id, 24, ["blue", "green", "red"])
    labels = dict(zip(kept["points"]["id"], kept["points"]["label"], strict=True))
    assert labels == {str(photo.id): kept["labels"].index(photo.label) for photo in photos}
    assert all(0 <= place <= 1 for axis in "xy" for place in kept["points"][axis])


@pytest.mark.slow
def test_a_large_index_is_sampled(
    settings: Settings, store: IndexStore, bundle: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST_POINTS", 10)
    fill_index(settings, bundle, library)
    run_map(settings, store, MAP, CancellationToken(), lambda _: None)
    kept = json.loads(load_map(settings, bundle.model_id))
    assert kept["total"] == 24 and {len(column) for column in kept["points"].values()} == {10}


def test_photos_that_changed_since_are_counted(
    settings: Settings, store: IndexStore, bundle: Bundle, library: Path
) -> None:
    photos = fill_index(settings, bundle, library)
    folder = settings.home / "maps"
    folder.mkdir()
    computed = {"model": bundle.model_id, "computed_at": "2026-01-01T12:00:00+00:00", "total": 24}
    (folder / f"{bundle.model_id}.json").write_text(json.dumps(computed))
    with open_index(store, bundle) as index:

        def changed() -> int:
            return json.loads(load_map_and_changes(settings, index))["changed"]

        assert changed() == 0
        index.delete([photos[0].id])
        assert changed() == 1
        for model in ("another", bundle.model_id):
            record = start_record(settings, IndexRequest(("a folder",)), model)
            record.count(BatchResult(seen=9, indexed=5, unchanged=4))
            record.end("done")
        assert changed() == 5
        assert json.loads(load_map_and_changes(settings, index)) == computed | {"changed": 5}


def test_a_cancelled_job_leaves_no_map(settings: Settings, store: IndexStore, bundle: Bundle, library: Path) -> None:
    fill_index(settings, bundle, library)
    begun: list[str] = []

    def cancel(job: object) -> None:
        begun.append(job.id)
        cancel_job(settings, job.id)

    run_map(settings, store, MAP, CancellationToken(), cancel)
    assert load_job(settings, begun[0]).state == "cancelled"
    with pytest.raises(NotFound):
        load_map(settings, bundle.model_id)


def test_an_empty_index_has_no_map(settings: Settings, store: IndexStore, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fill_index(settings, bundle, tmp_path / "empty")
    with pytest.raises(NotFound, match="holds no photos"):
        run_map(settings, store, MAP, CancellationToken(), lambda _: None)
