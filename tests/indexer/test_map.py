"""The layout of an index in the plane."""

import json
from pathlib import Path

import numpy as np
import pytest
from serving import fill_index

from indexer import map as maps
from indexer.jobs import IndexRequest, cancel_job, load_job
from indexer.map import load_map, project_2d, run_map
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import NotFound
from retrieval.index import IndexStore
from retrieval.settings import Settings

MAP = IndexRequest(sources=(), kind="map")


def clusters(count: int, per_cluster: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(64, dtype=np.float32)[:count], per_cluster, axis=0)
    vectors = centres + rng.normal(size=centres.shape).astype(np.float32) * 0.05
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_neighbours_on_the_map_are_neighbours_in_the_index() -> None:
    positions = project_2d(clusters(5, 40))
    assert positions.shape == (200, 2) and positions.dtype == np.float32
    assert positions.min() == 0 and positions.max() == 1
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:11] // 40
    assert (nearest == np.arange(200)[:, None] // 40).mean() > 0.99


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_a_few_photos_are_laid_out_too(count: int) -> None:
    positions = project_2d(clusters(count, 1))
    assert positions.shape == (count, 2) and np.isfinite(positions).all()


def test_photos_that_are_all_the_same_have_a_map() -> None:
    assert np.isfinite(project_2d(np.ones((8, 4), np.float32) / 2)).all()


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


def test_a_large_index_is_sampled(
    settings: Settings, store: IndexStore, bundle: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST_POINTS", 10)
    fill_index(settings, bundle, library)
    run_map(settings, store, MAP, CancellationToken(), lambda _: None)
    kept = json.loads(load_map(settings, bundle.model_id))
    assert kept["total"] == 24 and {len(column) for column in kept["points"].values()} == {10}


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
